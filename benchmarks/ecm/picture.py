"""The pictures of the docs: photographs with their edges; test pictures, their edges, and what every arm makes of these."""

from collections.abc import Sequence
from pathlib import Path

import torch
from ar_core.sampling import row_seed
from ar_vision.data.config import ImageDataConfig
from ar_vision.ecm.checkpoint import load_controller
from ar_vision.ecm.controls.config import ControlConfig, ControlKind
from ar_vision.ecm.controls.extract import extractor_of
from ar_vision.ecm.generation import open_controlled
from ar_vision.evaluation.image_set import SplitConfig, open_images
from ar_vision.evaluation.picture_grid import picture_grid
from ar_vision.pixels import to_bytes

from ..images.parts import Folders
from ..images.pictures import DOCS
from ..images.samples import test_images
from ..images.study import BASE, Study
from .arms import controller_of

__all__ = ["draw_controls", "draw_picture"]

COLUMNS = 10
PHOTOGRAPHS = (3, 14, 20, 22)
"""Numbers of Kodak photographs, from 0: two faces, a lighthouse, parrots."""
KINDS: tuple[ControlKind, ...] = ("canny", "edges")
SHOWN = (BASE, "ecm", "lora", "full")


def draw_controls(folders: Folders) -> Path:
    """Write photographs above their canny and their soft edges.

    Args:
        folders: of the staged photographs.

    Returns:
        The file.
    """
    wide = SplitConfig(ImageDataConfig(kind="folder", path=str(folders.kodak), size=256, transform="infinity"))
    images = list(open_images(wide).stream(0))
    shown = torch.stack([images[number] for number in PHOTOGRAPHS])
    rows = [shown, *(extractor_of(ControlConfig(kind=kind))(shown) for kind in KINDS)]
    DOCS.mkdir(exist_ok=True)
    file = DOCS / "ecm_controls.jpg"
    picture_grid(list(torch.cat(rows)), len(PHOTOGRAPHS), enlarge=1).save(file, optimize=True, quality=80)
    print(f"{DOCS.name}/{file.name}: rows are the photographs, {', '.join(KINDS)}")
    return file


def draw_picture(study: Study, arms: Sequence[str] | None = None) -> Path:
    """Write rows of the first test pictures, their canny, and one image by each arm under it; nothing is picked.

    Args:
        study: which seed.
        arms: of the rows; None: base, ECM, LoRA and full fine-tuning.

    Returns:
        The file.

    Raises:
        DataError: an arm has not been trained.
    """
    test = test_images("vq_tokenizer", study.folders)
    pictures = next(test.batches(COLUMNS))
    assert test.labels is not None
    folders = {arm: controller_of(study, arm) for arm in arms or SHOWN}
    control = load_controller(next(iter(folders.values()))).controls[0]
    maps = extractor_of(control)(pictures).contiguous()
    rows = [pictures, maps]
    seeds = [row_seed(study.seed, number) for number in range(len(pictures))]
    for folder in folders.values():
        generator = open_controlled(
            str(folder), str(study.model(BASE)), str(study.tokenizer), maps, test.labels[: len(maps)].tolist()
        )
        rows.append(to_bytes(generator.sample(range(len(maps)), seeds).images))
    DOCS.mkdir(exist_ok=True)
    file = DOCS / "ecm_canny.png"
    picture_grid(list(torch.cat(rows)), COLUMNS, enlarge=2).save(file, optimize=True)
    print(f"{DOCS.name}/{file.name}: rows are the pictures, their edges, {', '.join(folders)}")
    return file
