"""Drawn pictures with classes and captions, for trying things out without any file."""

import numpy as np
import torch
from ar_core.corruption import SampleRng

from .pictures import Picture

__all__ = ["ShapesPictures"]

SHAPES = ("circle", "square", "triangle", "ring")
COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 119, 180),
    "yellow": (240, 200, 40),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}


class ShapesPictures:
    """A shape of one colour, of random place and size, on another colour; the shape is its class.

    Args:
        count: N.
        size: (H, W) of the pictures.
    """

    classes = SHAPES
    captioned = True

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self._size = size
        self.labels = np.arange(count, dtype=np.int64) % len(SHAPES)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> Picture:
        """The picture's pixels and its caption, such as "a red circle on blue"."""
        generator = SampleRng(0).row(number, "shape")
        ink, ground = torch.randperm(len(COLOURS), generator=generator)[:2].tolist()
        names = list(COLOURS)
        y, x, radius = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        shape = SHAPES[number % len(SHAPES)]
        inside = _inside(shape, self._size, (0.3 + 0.4 * y, 0.3 + 0.4 * x), 0.15 + 0.15 * radius)
        pixels = np.where(inside[..., None], COLOURS[names[ink]], COLOURS[names[ground]]).astype(np.uint8)
        return Picture(f"shape {number}", pixels, (f"a {names[ink]} {shape} on {names[ground]}",))

    @property
    def fingerprint(self) -> str:
        """Their number and size."""
        return f"shapes/{len(self)}/{self._size[0]}x{self._size[1]}"


def _inside(shape: str, size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    """Pixels of a shape, bool [H, W]; centre and radius in shares of the height and width."""
    rows, columns = ((np.arange(side) + 0.5) / side for side in size)
    y, x = np.meshgrid(rows - centre[0], columns - centre[1], indexing="ij")
    distance = np.hypot(y, x)
    if shape == "circle":
        return distance <= radius
    if shape == "ring":
        return (distance <= radius) & (distance >= 0.5 * radius)
    if shape == "square":
        return np.maximum(abs(y), abs(x)) <= radius
    return (y <= radius) & (y + radius >= 2 * abs(x))
