"""Samples and reconstructions as pictures for the docs."""

from itertools import islice
from pathlib import Path

import torch
from ar_vision.checkpoint import load_checkpoint
from ar_vision.evaluation.image_set import open_images
from ar_vision.evaluation.picture_grid import picture_grid
from ar_vision.pixels import to_bytes, to_signed
from ar_vision.tokenizers.training.reconstruction import reconstruct

from .captioned import captions
from .measuring import schedule_of
from .parts import PARTS, Folders, Part
from .plotting import Results, best, read
from .samples import test_images

__all__ = ["pictures"]

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
COLUMNS = 10
"""One a class."""
PHOTOGRAPHS = 6
"""Columns of pictures of 128 pixels."""


def pictures(folders: Folders, results: Path) -> None:
    """Write, of every generator that was measured, its first samples without guidance and with the best one, a class a column;
    and of every tokenizer the first test images above their reconstructions. Of a generator of texts: for the first caption of
    each held-out picture a column, and for each guidance a row. Nothing is picked.
    """
    DOCS.mkdir(exist_ok=True)
    for name, one in read(results).items():
        if one["seed"] != folders.seed:
            continue
        part = PARTS[one["part"]]
        if part.tokenizer is None:
            _reconstructions(part, folders)
            continue
        if part.captioned:
            _prompted(part, one, folders)
            continue
        free = next(row for row in one["rows"] if row["guidance"] == 1)
        for word, row in (("free", free), ("guided", best(one))):
            folder = folders.of(part.name) / "samples" / f"{row['images']}_guidance_{row['guidance']:g}"
            images = list(islice(open_images(str(folder)).stream(0), 5 * COLUMNS))
            _save(images, DOCS / f"{part.name}_{word}.png")
        print(f"{name}: {DOCS.name}/{part.name}_free.png, {part.name}_guided.png")


def _prompted(part: Part, one: Results, folders: Folders) -> None:
    texts = captions(part.name, folders)
    each = len(texts) // one["held_out"]
    columns = min(_columns(part), one["held_out"])
    shown = []
    for row in sorted(one["rows"], key=lambda row: row["guidance"]):
        folder = folders.of(part.name) / "samples" / f"{row['images']}_guidance_{row['guidance']:g}"
        shown += list(open_images(str(folder)).stream(0))[: columns * each : each]
    _save(shown, _file(part), columns, _enlarged(part))
    print(f"{DOCS.name}/{_file(part).name}: " + " | ".join(texts[: columns * each : each]))


def _reconstructions(part: Part, folders: Folders) -> None:
    columns = _columns(part)
    images = torch.stack(list(islice(test_images(part.name, folders).stream(0), 2 * columns)))
    model = load_checkpoint(folders.model(part.name), "tokenizer").model
    with torch.no_grad():
        again = to_bytes(reconstruct(model, to_signed(images), schedule_of(part.name))[0])
    rows = [each for pair in zip(images.split(columns), again.split(columns)) for each in pair]
    _save(list(torch.cat(rows)), _file(part), columns, _enlarged(part))


def _columns(part: Part) -> int:
    return PHOTOGRAPHS if part.data == "photographs" else COLUMNS


def _enlarged(part: Part) -> int:
    return 1 if part.data == "photographs" else 2


def _file(part: Part) -> Path:
    # Photographs, which PNG does not make small, are JPEG.
    return DOCS / f"{part.name}.{'jpg' if part.data == 'photographs' else 'png'}"


def _save(images: list[torch.Tensor], path: Path, columns: int = COLUMNS, enlarge: int = 2) -> None:
    picture_grid(images, columns, enlarge=enlarge).save(path, optimize=True, quality=90)
