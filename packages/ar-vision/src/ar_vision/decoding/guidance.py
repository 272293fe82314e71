"""Classifier-free guidance over the passes of a generation: which of them need the null half, and what their logits are.

Rows of a pass are those of B images and, behind them, as many of the null condition while guidance needs these.

Source: classifier-free guidance (arXiv 2207.12598); which passes need it: ours.
"""

import math
from collections.abc import Callable, Sequence

import torch
from ar_core.errors import ConfigError, NumericsError
from ar_core.sampling import guide
from torch import Tensor

__all__ = ["doubled", "guided_logits", "guided_passes", "require_guidance", "require_sound", "sound"]


def require_guidance(scale: float, name: str = "guidance") -> None:
    """Refuse a strength of guidance that is none.

    Args:
        scale: g.
        name: of the setting.

    Raises:
        ConfigError: it is below 0, where guidance leads away from the condition, or no finite number.
    """
    if not (math.isfinite(scale) and scale >= 0):
        raise ConfigError(f"{name} is {scale}; it must be a number of at least 0, and 1 means none")


def guided_passes(guidance: Sequence[float]) -> int:
    """Return how many passes run with the null half: up to and with the last one whose guidance is not 1.

    All before it count, those without guidance too: later ones attend to their keys and values of the null half.
    """
    return max((number + 1 for number, scale in enumerate(guidance) if scale != 1), default=0)


def guided_logits(head: Callable[[int], Tensor], batch: int, scale: float) -> Tensor:
    """Return guided logits [B, n, V]; without guidance the head runs for the images alone.

    Args:
        head: from a number of rows, the first of the pass, to their logits.
        batch: B.
        scale: g; 1 means none.
    """
    if scale == 1:
        return head(batch)
    given, null = head(2 * batch).chunk(2)
    return guide(given, null, scale)


def sound(logits: Tensor) -> Tensor:
    """Return whether every place of logits [B, n, V] has a largest one that is a finite number; bool []."""
    return logits.amax(-1).isfinite().all()


def require_sound(found: Tensor) -> None:
    """Wait for what :func:`sound` gave, a scalar bool, and refuse to go on with codes that mean nothing.

    Raises:
        NumericsError: it is false.
    """
    if not bool(found):
        raise NumericsError(
            "The model's logits are not numbers, so no code can be chosen; check its weights and the dtype it runs in."
        )


def doubled(x: Tensor, rows: int) -> Tensor:
    """Return what all parts of a pass are fed with alike: x [B, ...] as it is, or twice behind each other where a pass has 2B rows, ..."""
    return x if rows == len(x) else torch.cat([x] * (rows // len(x)))
