"""The straight path from data to noise, and the way back (arXiv 2209.03003, 2401.08740).

x_t = (1 - t) z + t e of data z and normal noise e; its velocity is e - z, and t falls from 1 to 0 in sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

__all__ = ["Velocity", "integrate", "noised"]

Velocity = Callable[[Tensor, float], Tensor]
"""From x_t and t to the velocity, of the shape of x."""


def noised(data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return x_t.

    Args:
        data: `[..., Cv]`.
        noise: `[..., Cv]`.
        time: t in [0, 1], broadcasts against them.

    Returns:
        `[..., Cv]`.
    """
    return (1 - time) * data + time * noise


def integrate(
    velocity: Velocity, x: Tensor, steps: int, *, diffusion: float = 0.0, draw: Callable[[], Tensor] | None = None
) -> Tensor:
    """Go from noise at t = 1 to data at t = 0 in equal steps of Euler, or of Euler and Maruyama.

    With diffusion w the path has noise of variance w t dt a step, and a drift towards where the density is higher that makes up
    for it: the score follows from the velocity, -(x + (1 - t) v) / t. The law at t = 0 is the same for every w, up to the
    error of the steps. The last step has no noise.

    Args:
        velocity: of the field.
        x: noise, of any shape, at t = 1.
        steps: how many.
        diffusion: w; 0 is the ordinary differential equation, for which steps are exact where the velocity is constant.
        draw: normal numbers of the shape of x, called once a step but for the last; not needed without diffusion.

    Returns:
        x at t = 0, of the same shape.
    """
    size = 1 / steps
    for step in range(steps):
        time = 1 - step * size
        v = velocity(x, time)
        if not diffusion or step == steps - 1:
            x = x - size * v
            continue
        assert draw is not None
        variance = diffusion * time * size
        score = -(x + (1 - time) * v) / time
        x = x - size * v + variance / 2 * score + math.sqrt(variance) * draw()
    return x
