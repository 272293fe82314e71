"""The temperature of every scale: 1 at first, lower at the late scales, which early-centric training sees least.

Published are the two ends, 1.0 and 0.8; the shape in between is not.
"""

import math
from typing import Literal

from ar_core.errors import ConfigError

from .config import require_choice

__all__ = ["TemperatureShape", "require_shape", "temperatures"]

TemperatureShape = Literal["linear", "cosine", "step"]
"""How the temperature goes from its first to its last value over the scales."""


def temperatures(
    early: float, late: float, shape: TemperatureShape, count: int, step_at: int | None = None
) -> tuple[float, ...]:
    """Return T_k of K scales, from T_high to T_low.

    Args:
        early: T_high.
        late: T_low.
        shape: ``linear`` and ``cosine`` over k; ``step``: ``late`` from a scale on.
        count: K.
        step_at: of ``step``, the first scale of the lower temperature, from 0; None: the middle one.

    Raises:
        ConfigError: as :func:`require_shape`; or ``step_at`` is no scale.
    """
    require_shape(shape, step_at)
    if step_at is not None and step_at > count:
        raise ConfigError(f"step_at is {step_at} and there are {count} scales: give one of 0 to {count}")
    if shape == "step":
        first = count // 2 if step_at is None else step_at
        return tuple(early if k < first else late for k in range(count))
    places = [k / (count - 1) if count > 1 else 0.0 for k in range(count)]
    shares = [(1 - math.cos(math.pi * place)) / 2 if shape == "cosine" else place for place in places]
    return tuple(late if share == 1 else early + (late - early) * share for share in shares)


def require_shape(shape: TemperatureShape, step_at: int | None) -> None:
    """Refuse what is no shape of temperatures, whatever the number of scales.

    Raises:
        ConfigError: the shape is none, or ``step_at`` is below 0 or given to another shape than ``step``.
    """
    require_choice("temperature_shape", shape, TemperatureShape)
    if step_at is None:
        return
    if shape != "step":
        raise ConfigError(
            f"step_at is {step_at} and temperature_shape {shape!r}, which has none: give temperature_shape=step, or leave it out"
        )
    if step_at < 0:
        raise ConfigError(f"step_at is {step_at}, but must be at least 0: give the first scale of the late temperature")
