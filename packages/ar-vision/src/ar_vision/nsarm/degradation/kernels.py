"""Blur kernels: bells of six shapes, and the low-pass filter whose copies ring. Each has the sum 1.

Source: Real-ESRGAN (arXiv 2107.10833), section 3, and its published code.
"""

import math

import torch
from torch import Generator, Tensor

from .config import BlurConfig
from .draws import chosen, uniform

__all__ = ["bell", "drawn_kernel", "drawn_sinc", "gaussian", "sinc"]


def bell(size: int, sigma: tuple[float, float], angle: float, *, kind: str = "gaussian", shape: float = 1.0) -> Tensor:
    """Return a bell of side ``size``, float64 [size, size], of sum 1.

    With q the squared distance from the middle in units of the widths along its axes: exp(-q/2), the generalised
    exp(-q^shape / 2), the plateau 1 / (1 + q^shape).

    Args:
        size: odd.
        sigma: widths along both axes.
        angle: by which they are turned.
        kind: gaussian, generalised or plateau.
        shape: beta, of the last two.
    """
    y, x = _grid(size)
    along = (x * math.cos(angle) + y * math.sin(angle)) / sigma[0]
    across = (y * math.cos(angle) - x * math.sin(angle)) / sigma[1]
    distance = along.square() + across.square()
    if kind == "plateau":
        values = 1 / (1 + distance.pow(shape))
    else:
        values = torch.exp(-0.5 * (distance.pow(shape) if kind == "generalised" else distance))
    return values / values.sum()


def gaussian(size: int, sigma: float) -> Tensor:
    """Return an isotropic Gaussian, float64 [size, size], of sum 1."""
    return bell(size, (sigma, sigma), 0.0)


def sinc(size: int, cutoff: float) -> Tensor:
    """Return the circular low-pass filter w J1(w r) / (2 pi r), float64 [size, size], of sum 1; it rings at edges.

    Args:
        size: odd.
        cutoff: w in radians a pixel, at most pi.
    """
    y, x = _grid(size)
    radius = (x.square() + y.square()).sqrt()
    middle = radius == 0
    safe = torch.where(middle, 1.0, radius)
    values = cutoff * torch.special.bessel_j1(cutoff * safe) / (2 * math.pi * safe)
    values = torch.where(middle, cutoff**2 / (4 * math.pi), values)
    return values / values.sum()


def drawn_kernel(config: BlurConfig, generator: Generator) -> Tensor:
    """Draw a kernel: its side, then its kind, then its shape."""
    low, high = config.sizes
    size = low + 2 * int(uniform(0, (high - low) // 2 + 1, generator))
    if uniform(0, 1, generator) < config.sinc_probability:
        return sinc(size, uniform(math.pi / (3 if size < 13 else 5), math.pi, generator))
    kind, turned = divmod(chosen(config.shares, generator), 2)
    first = uniform(*config.sigma, generator)
    second, angle = (
        (uniform(*config.sigma, generator), uniform(-math.pi, math.pi, generator)) if turned else (first, 0.0)
    )
    name, shape = ("gaussian", "generalised", "plateau")[kind], 1.0
    if kind:
        low_shape, high_shape = config.generalised_shape if kind == 1 else config.plateau_shape
        # Half of the draws on each side of 1, whatever the lengths of the two sides.
        below = uniform(0, 1, generator) < 0.5
        shape = (
            uniform(low_shape, min(1.0, high_shape), generator)
            if below
            else uniform(max(1.0, low_shape), high_shape, generator)
        )
    return bell(size, (first, second), angle, kind=name, shape=shape)


def drawn_sinc(generator: Generator) -> Tensor:
    """Draw the final sinc, [s, s] with a side of 7 to 21 pixels, cut off from U(pi/3, pi)."""
    return sinc(7 + 2 * int(uniform(0, 8, generator)), uniform(math.pi / 3, math.pi, generator))


def _grid(size: int) -> tuple[Tensor, Tensor]:
    places = torch.arange(size, dtype=torch.float64) - size // 2
    return places[:, None].expand(size, size), places[None].expand(size, size)
