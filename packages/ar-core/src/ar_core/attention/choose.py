"""Which backend computes a call, and why."""

from types import ModuleType, SimpleNamespace
from typing import NamedTuple, cast

from torch import Tensor

from ar_core.attention import flash_attn, flex, sdpa, segments, triton, xformers
from ar_core.attention.backend import Backend
from ar_core.errors import BackendError
from ar_core.masks import Mask

__all__ = ["BACKENDS", "Choice", "choose"]


def _backend(module: ModuleType) -> Backend:
    return cast(Backend, module)


BACKENDS: dict[str, Backend] = {
    "sdpa": _backend(sdpa),
    "segments": _backend(segments),
    "flex": _backend(flex),
    "flex_uncompiled": cast(
        Backend,
        SimpleNamespace(available=flex.available, refuses=flex.refuses_uncompiled, compute=flex.compute_uncompiled),
    ),
    "triton": _backend(triton),
    "flash_attn": _backend(flash_attn),
    "xformers": _backend(xformers),
}
"""All backends by name."""

_FEW_QUERIES = 256
_SPARSE_ENOUGH = 0.7


class Choice(NamedTuple):
    """A backend's name and the reason it was chosen."""

    name: str
    """Of the backend."""
    reason: str
    """Why it computes the call: one clause."""


def choose(q: Tensor, k: Tensor, mask: Mask | None, backend: str = "auto") -> Choice:
    """Pick the backend of a call.

    Args:
        q: [B, H, Q, D].
        k: [B, Hkv, K, D].
        mask: who may attend to whom; None: everything visible.
        backend: a name in ``BACKENDS``, or ``"auto"``.

    Returns:
        Name and reason.

    Raises:
        BackendError: the named backend is unknown, absent, or cannot compute this call. ``"auto"`` never raises.
    """
    if backend == "auto":
        return _automatic(q, k, mask)
    if backend not in BACKENDS:
        raise BackendError(f"There is no attention backend {backend!r}; choose {_names()}.")
    present, why = BACKENDS[backend].available()
    if not present:
        raise BackendError(f"The attention backend {backend!r} cannot be used here: {why}; choose {_names()}.")
    if (refusal := BACKENDS[backend].refuses(q, k, mask)) is not None:
        raise BackendError(f"The attention backend {backend!r} was asked for and cannot compute this: {refusal}.")
    return Choice(backend, "asked for")


def _names() -> str:
    return f"{', '.join(name for name, backend in BACKENDS.items() if backend.available()[0])} or auto"


def _automatic(q: Tensor, k: Tensor, mask: Mask | None) -> Choice:
    if mask is None or mask.is_full:
        return Choice("sdpa", "nothing is hidden")
    if q.shape[2] < _FEW_QUERIES:
        return Choice("sdpa", f"{q.shape[2]} queries are too few to gain from skipping what is hidden")
    if q.device.type == "cuda":
        if triton.suits(q, mask) and triton.available()[0]:
            return Choice("triton", "kernels of block-diffusion training in half precision on CUDA")
        refusal = flex.refuses(q, k, mask)
        return Choice("sdpa", refusal) if refusal else Choice("flex", "a block-sparse mask on CUDA")
    if q.device.type != "cpu":
        return Choice("sdpa", f"no other backend is known to work on {q.device.type}")
    if refusal := segments.refuses(q, k, mask):
        return Choice("sdpa", refusal)
    share = segments.computed_share(mask)
    if share > _SPARSE_ENOUGH:
        return Choice("sdpa", f"segments would still compute {share:.0%} of all scores")
    return Choice("segments", f"segments compute {share:.0%} of all scores")
