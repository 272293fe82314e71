"""Images to measure, from any place, in batches and in order: never all of them in memory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path
from ar_core.errors import DataError
from torch import Tensor

from ..data.collections import Pictures, open_pictures
from ..data.config import ImageDataConfig
from ..data.source import Split, build_image_source
from ..data.transforms import to_tensor
from .drawn_images import open_drawn
from .npz_images import open_npz

__all__ = ["ImageSet", "SplitConfig", "open_images"]


@dataclass(frozen=True)
class SplitConfig:
    """A split of training data, as a recipe reads it: held-out images under the very transform of the training."""

    data: ImageDataConfig
    """As in the recipe."""
    split: Split = "all"
    """``train`` and ``held_out`` are those of the recipe if ``data.held_out`` is."""


@dataclass(frozen=True)
class ImageSet:
    """N images of one size.

    Attributes:
        place: what names them in messages and reports.
        count: N.
        size: (H, W).
        stream: from a number to the images from there on, uint8 [3, H, W] each.
        labels: int64 [N]; None where they have no classes.
        classes: names of the classes, if they have names.
        facts: what identifies them, JSON-able.
        statistics: published moments by name (``mu``, ``sigma``, ``mu_s``, ``sigma_s``), of more images than are here.
        places: from a number to what names that image; None where only the set has a name.
    """

    place: str
    count: int
    size: tuple[int, int]
    stream: Callable[[int], Iterator[Tensor]]
    labels: Tensor | None = None
    classes: tuple[str, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    places: Callable[[int], str] | None = None

    def named(self, number: int) -> str:
        """Return what messages call an image, of 0, 1, ..."""
        return f"image {number} of {self.place}" if self.places is None else self.places(number)

    def batches(self, size: int, *, stop: int | None = None) -> Iterator[Tensor]:
        """Yield uint8 [B, 3, H, W] of at most ``size`` images, in order; of the first ``stop`` alone, if given.

        Raises:
            DataError: an image cannot be read, or has another size than the first.
        """
        left = self.count if stop is None else min(stop, self.count)
        images = self.stream(0)
        while left:
            taken = list(islice(images, min(size, left)))
            wrong = next((image for image in taken if tuple(image.shape[1:]) != self.size), None)
            if wrong is not None:
                raise DataError(
                    f"{self.place} holds images of {self.size[1]} x {self.size[0]} and of {wrong.shape[2]} x {wrong.shape[1]} "
                    "pixels: they must have one size, resize them or give data with a transform"
                )
            left -= len(taken)
            yield torch.stack(taken)

    def describe(self) -> dict[str, Any]:
        """Where, how many, and what identifies them."""
        return {"images": self.count, "size": list(self.size), **self.facts}


def open_images(where: str | SplitConfig) -> ImageSet:
    """Open images by path, as they are, or a split of training data.

    Args:
        where: an .npz (``arr_0`` or ``images``, uint8 [N, H, W, 3]; ``labels`` or ``arr_1``), a folder of pictures or of one
            folder a class, the folder of the sampling protocol, or any other data that `ar_vision.data` reads; or a split.

    Raises:
        DataError: nothing is there, or it cannot be read.
    """
    if isinstance(where, SplitConfig):
        source = build_image_source(where.data, seed=0, split=where.split)

        def stream(start: int) -> Iterator[Tensor]:
            return (sample["image"] for number, sample in enumerate(source.once()) if number >= start)

        facts = {name: value for name, value in source.describe().items() if name not in ("pictures", "size")}
        place = str(where.data.path or where.data.kind)
        return ImageSet(place, len(source), where.data.shape, stream, source.labels, source.classes, facts)
    path = expand_path(where)
    if path.suffix.lower() == ".npz":
        archive = open_npz(path)
        return ImageSet(
            where, archive.count, archive.size, archive.stream, archive.labels, None, archive.facts, archive.statistics
        )
    if (path / "stage.json").is_file():
        drawn = open_drawn(path)
        return ImageSet(where, drawn.count, drawn.size, drawn.stream, drawn.labels, None, {"sampling": drawn.facts})
    config = ImageDataConfig(path=where)
    return _pictures(open_pictures(config), config, path)


def _pictures(pictures: Pictures, config: ImageDataConfig, path: Path) -> ImageSet:
    def image(number: int) -> Tensor:
        return to_tensor(pictures[number].pixels(config.background))

    def stream(start: int) -> Iterator[Tensor]:
        return (image(number) for number in range(start, len(pictures)))

    labels = None if pictures.labels is None else torch.from_numpy(pictures.labels)
    names = pictures.classes
    if labels is not None and names is not None and all(name.isdecimal() for name in names):
        # Folders that are numbers are the classes themselves, also where some have no pictures.
        labels, names = torch.tensor([int(name) for name in names])[labels], None
    first = image(0)
    facts = {"fingerprint": pictures.fingerprint}
    size = (first.shape[1], first.shape[2])
    return ImageSet(
        str(path), len(pictures), size, stream, labels, names, facts, places=lambda number: pictures[number].place
    )
