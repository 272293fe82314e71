"""Samples and reconstructions as pictures for the docs."""

from itertools import islice
from pathlib import Path

import torch
from ar_vision.checkpoint import load_checkpoint
from ar_vision.evaluation.image_set import open_images
from ar_vision.evaluation.picture_grid import picture_grid
from ar_vision.pixels import to_bytes, to_signed
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.training.reconstruction import reconstruct

from .measuring import SCALES, test_images
from .parts import PARTS, Folders
from .plotting import best, read

__all__ = ["pictures"]

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
COLUMNS = 10
"""One a class."""


def pictures(folders: Folders, results: Path) -> None:
    """Write, of every generator that was measured, its first samples without guidance and with the best one, a class a column;
    and of every tokenizer the first test images above their reconstructions. Nothing is picked.
    """
    DOCS.mkdir(exist_ok=True)
    for name, one in read(results).items():
        if one["seed"] != folders.seed:
            continue
        part = PARTS[one["part"]]
        if part.tokenizer is None:
            _reconstructions(part.name, folders)
            continue
        free = next(row for row in one["rows"] if row["guidance"] == 1)
        for word, row in (("free", free), ("guided", best(one))):
            folder = folders.of(part.name) / "samples" / f"{row['images']}_guidance_{row['guidance']:g}"
            images = list(islice(open_images(str(folder)).stream(0), 5 * COLUMNS))
            _save(images, DOCS / f"{part.name}_{word}.png")
        print(f"{name}: {DOCS.name}/{part.name}_free.png, {part.name}_guided.png")


def _reconstructions(name: str, folders: Folders) -> None:
    images = torch.stack(list(islice(test_images(folders).stream(0), 2 * COLUMNS)))
    model = load_checkpoint(folders.model(name), "tokenizer").model
    with torch.no_grad():
        again = to_bytes(reconstruct(model, to_signed(images), ScaleSchedule.square(*SCALES[name]))[0])
    rows = [part for pair in zip(images.split(COLUMNS), again.split(COLUMNS)) for part in pair]
    _save(list(torch.cat(rows)), DOCS / f"{name}.png")


def _save(images: list[torch.Tensor], path: Path) -> None:
    picture_grid(images, COLUMNS, enlarge=2).save(path, optimize=True)
