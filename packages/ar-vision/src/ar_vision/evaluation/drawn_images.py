"""Images in the chunks that the sampling protocol writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
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
    count: int
    size: tuple[int, int]
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
    shape = read_header(paths[0])["images"]["shape"]
    labels = cycled(identity["labels"], identity["count"])
    classes = None if "prompts" in identity["generator"] else torch.tensor(labels)
    return DrawnImages(paths, len(labels), (shape[2], shape[3]), classes, identity)
