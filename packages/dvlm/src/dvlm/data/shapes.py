"""Drawn pictures with questions that have exact answers, for trying things out without any file."""

from typing import Any

import numpy as np
import torch
from ar_core.corruption import SampleRng

__all__ = ["COLOURS", "SHAPES", "shape_picture", "shape_record"]

SHAPES = ("circle", "square", "triangle")
"""What is drawn."""
COLOURS = {"red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 119, 180), "yellow": (240, 200, 40)}
"""In which colours, RGB."""
SIDE = 32


def _facts(number: int) -> tuple[str, str, str, tuple[float, float, float]]:
    """Shape, its colour, the ground's, and (y, x, radius) in shares of the side."""
    generator = SampleRng(0).row(number, "shape")
    ink, ground = torch.randperm(len(COLOURS), generator=generator)[:2].tolist()
    shape = SHAPES[int(torch.randint(len(SHAPES), (), generator=generator))]
    y, x, radius = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    names = list(COLOURS)
    return shape, names[ink], names[ground], (0.35 + 0.3 * y, 0.35 + 0.3 * x, 0.2 + 0.1 * radius)


def shape_record(number: int) -> dict[str, Any]:
    """A record of the published format; every fourth is of text alone."""
    shape, ink, ground, _ = _facts(number)
    if number % 4 == 3:
        turns = [("human", f"Say {shape}."), ("gpt", shape)]
    else:
        question, answer = (
            ("What shape is it?", shape),
            ("What colour is the shape?", ink),
            ("What colour is the ground?", ground),
        )[number % 4]
        turns = [("human", f"<image>\n{question}"), ("gpt", answer)]
    record: dict[str, Any] = {"id": number, "conversations": [{"from": who, "value": text} for who, text in turns]}
    return record if number % 4 == 3 else {**record, "image": f"{number}"}


def shape_picture(number: int) -> np.ndarray:
    """The picture of a record, uint8 [32, 32, 3]."""
    shape, ink, ground, (y, x, radius) = _facts(number)
    rows, columns = np.meshgrid(*((np.arange(SIDE) + 0.5) / SIDE - part for part in (y, x)), indexing="ij")
    if shape == "circle":
        inside = np.hypot(rows, columns) <= radius
    elif shape == "square":
        inside = np.maximum(abs(rows), abs(columns)) <= radius
    else:
        inside = (rows <= radius) & (rows + radius >= 2 * abs(columns))
    return np.where(inside[..., None], COLOURS[ink], COLOURS[ground]).astype(np.uint8)
