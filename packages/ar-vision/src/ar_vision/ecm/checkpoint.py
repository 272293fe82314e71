"""Controllers as folders of their own: ``model.safetensors`` and ``config.json``, without a tensor of the base."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from ar_core.config import from_dict, to_dict
from ar_core.errors import ArError, CheckpointError
from ar_core.io import built_on_meta, read_tensors, save_tensors
from ar_core.registry import resolve

from ..backbones.var.config import VarConfig
from ..checkpoint import CONFIG, WEIGHTS, Loaded, filled, fingerprint, read_record, require_finite
from .controller import Controller
from .controls.config import ControlConfig
from .kinds import controller_kind
from .layout import layout_of

__all__ = ["LoadedController", "load_controller", "require_base", "save_controller"]

T = TypeVar("T")


@dataclass(frozen=True)
class LoadedController:
    """A controller as a folder holds it.

    Attributes:
        model: in eval mode, on the CPU, in the dtype stored unless another was asked for.
        kind: ``ecm``, ``lora``, ``full`` or ``car``.
        base: fingerprint of the base that it was trained on; None where that is not known (converted weights).
        tokenizer: of the base's tokenizer.
        controls: kinds of control that it was trained for, with the settings of their extraction.
        provenance: plain text by name.
        path: the folder.
    """

    model: Controller
    kind: str
    base: str | None
    tokenizer: str | None
    controls: tuple[ControlConfig, ...]
    provenance: Mapping[str, Any]
    path: Path


def save_controller(
    directory: str | Path,
    controller: Controller,
    controls: Sequence[ControlConfig],
    *,
    base: str | None = None,
    tokenizer: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a controller into a folder, which is made if it is not there.

    Args:
        directory: the folder.
        controller: what is written; its base is not.
        controls: kinds of control, in the order of their numbers.
        base: fingerprint of the base.
        tokenizer: of its tokenizer.
        provenance: JSON-able facts about the origin.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    settings: Any = controller.config
    record = {
        "kind": controller.kind,
        "config": to_dict(settings),
        "base": {
            "fingerprint": base,
            "config": to_dict(controller.base_config),
            "image_size": controller.image_size,
        },
        "controls": [to_dict(one.made_by) for one in controls],
        "tokenizer": tokenizer,
        "provenance": dict(provenance or {}),
    }
    tensors = layout_of(controller).to_published(controller.state_dict())
    save_tensors(directory / WEIGHTS, tensors, {"kind": controller.kind, "base": str(base)})
    (directory / CONFIG).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_controller(path: str | Path, *, dtype: torch.dtype | None = None) -> LoadedController:
    """Read a folder that :func:`save_controller` wrote; every key fits, or none is loaded.

    Args:
        path: the folder.
        dtype: of the controller; None takes the one stored.

    Raises:
        CheckpointError: it is no such folder, is damaged, holds numbers that are none, or weights and config do not belong together.
    """
    path = Path(path)
    record = read_record(path, {"base": dict, "controls": list})
    kind = controller_kind(record["kind"], str(path))

    def read(build: Callable[[], T]) -> T:
        try:
            return build()
        except (ArError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path / CONFIG} does not describe a {kind.kind} ({error}): write it anew"
            ) from error

    config = read(lambda: from_dict(resolve(kind.config), record["config"]))
    base = read(lambda: from_dict(VarConfig, record["base"]["config"]))
    size = read(lambda: int(record["base"]["image_size"]))
    controls = read(lambda: tuple(from_dict(ControlConfig, one) for one in record["controls"]))
    tensors = read_tensors(path / WEIGHTS)
    require_finite(tensors, str(path / WEIGHTS))
    build = resolve(kind.model)
    source = str(path / WEIGHTS)
    layout = layout_of(built_on_meta(lambda: build(config, base, size, len(controls)), len(tensors), source))
    model = filled(
        lambda: build(config, base, size, len(controls)),
        tensors,
        layout=layout.to_published,
        source=source,
        dtype=dtype,
    )
    return LoadedController(
        model, kind.kind, record["base"].get("fingerprint"), record["tokenizer"], controls, record["provenance"], path
    )


def require_base(controller: LoadedController, base: Loaded) -> None:
    """Refuse a base that a controller does not fit, and warn of one that it was not trained on.

    Raises:
        CheckpointError: the base is no VAR, or has another shape; names the first setting that differs.
    """
    shape: Any = base.model.config
    wanted = controller.model.base_config
    if not isinstance(shape, VarConfig):
        raise CheckpointError(
            f"{controller.path} controls a VAR and {base.path} is a {base.family.kind}: give the VAR that it was trained on"
        )
    # Dropout of the base's training is no matter of shape.
    differing = next(
        (
            name
            for name in to_dict(wanted)
            if name not in ("drop_path", "head_precision") and getattr(wanted, name) != getattr(shape, name)
        ),
        None,
    )
    if differing is not None:
        raise CheckpointError(
            f"{controller.path} controls a VAR of {differing} {getattr(wanted, differing)} and {base.path} has "
            f"{getattr(shape, differing)}: give the VAR that it was trained on"
        )
    given = fingerprint(base.model)
    if controller.base not in (None, given):
        warnings.warn(
            f"{controller.path} was trained on the base {controller.base} and {base.path} is {given}, of the same shape: the control may be "
            "weaker or break",
            stacklevel=2,
        )
