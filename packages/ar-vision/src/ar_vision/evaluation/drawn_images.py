"""Images in the chunks that the sampling protocol writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ar_core.errors import DataError
from ar_core.io import read_header, read_tensors
from ar_core.training import finished_chunks
from torch import Tensor

__all__ = ["DrawnImages", "cycled", "open_drawn"]


@dataclass(frozen=True)
class DrawnImages:
    """N images of a finished run of the protocol; see `.image_set.ImageSet`.

    Attributes:
        labels: int64 [N]; None where the images are of prompts.
        facts: what decided the images: labels, or prompts that they number, seed, checkpoints, settings of decoding.
    """

    paths: list[Path]
    """Chunks, in order."""
    count: int
    """N."""
    size: tuple[int, int]
    """Height and width in pixels."""
    labels: Tensor | None
    facts: Mapping[str, Any]

    def stream(self, start: int) -> Iterator[Tensor]:
        """Yield the images from number ``start`` on, uint8 [3, H, W], one chunk in memory at a time."""
        number = 0
        for path in self.paths:
            images = read_tensors(path)["images"]
            yield from images[max(0, start - number) :]
            number += len(images)


def cycled(labels: list[int], count: int) -> list[int]:
    """Return ``count`` labels, round after round of all.

    In rounds, any long run of images holds all classes evenly, as evaluators expect that score images in runs of 5,000.
    """
    return [labels[number % len(labels)] for number in range(count)]


def open_drawn(directory: Path) -> DrawnImages:
    """Open the folder of a finished run.

    Raises:
        DataError: nothing is there, or chunks are missing.
    """
    identity, paths = finished_chunks(directory)
    shapes = [read_header(path).get("images", {}) for path in paths]
    first = shapes[0].get("shape", []) if shapes else []
    if len(first) != 4 or any(one.get("dtype") != "U8" or one["shape"][1:] != [3, *first[2:]] for one in shapes):
        raise DataError(f"{str(directory)!r} holds chunks without images of one size: draw them anew")
    count: Any = identity.get("count")
    generator: Any = identity.get("generator")
    round_of: Any = identity.get("labels")
    fits = isinstance(generator, dict) and isinstance(round_of, list) and bool(round_of)
    if not fits or not all(type(label) is int and 0 <= label < 2**63 for label in round_of):
        raise DataError(f"the record of {str(directory)!r} names no labels and generator of images: draw them anew")
    if type(count) is not int or count != sum(one["shape"][0] for one in shapes):
        raise DataError(
            f"the record of {str(directory)!r} tells of {count!r:.40} images and there are others: draw them anew"
        )
    labels = cycled(round_of, count)
    classes = None if "prompts" in generator else torch.tensor(labels)
    return DrawnImages(paths, len(labels), (first[2], first[3]), classes, identity)
