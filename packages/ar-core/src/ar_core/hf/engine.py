"""How the passes of a model are run, by name."""

from typing import Literal, get_args

from torch import nn

from ar_core.errors import BackendError
from ar_core.hf.backbone import HFBackbone
from ar_core.hf.static import Engine, StaticBackbone

__all__ = ["EngineName", "build_backbone"]

EngineName = Literal["plain", Engine]
"""One of them: passes as transformers runs them (`plain`), or of fixed shapes."""


def build_backbone(model: nn.Module, engine: EngineName | str = "plain") -> HFBackbone:
    """A backbone for decoding; AR and every method take the same.

    Args:
        model: as of :class:`HFBackbone`.
        engine: "plain" calls the model as it is; "graph", "compile" and "eager" are those of :class:`StaticBackbone`.

    Raises:
        UnsupportedModelError: as :class:`HFBackbone`.
        BackendError: there is no such engine, or it needs a CUDA device.
    """
    if engine not in get_args(EngineName):
        raise BackendError(f"There is no engine {engine!r}; choose {', '.join(get_args(EngineName))}.")
    return HFBackbone(model) if engine == "plain" else StaticBackbone(model, engine)  # type: ignore[arg-type]  # checked above
