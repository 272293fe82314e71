"""Results of the first photographs as a picture for the docs. Nothing is picked."""

from pathlib import Path

import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.pictures import read_picture
from ar_vision.data.transforms import to_tensor
from ar_vision.evaluation.picture_grid import picture_grid
from ar_vision.nsarm.degradation.config import degradation_of
from ar_vision.nsarm.degradation.degrade import degrade
from ar_vision.nsarm.low_samples import STREAM
from torch import Tensor

from .arms import Study
from .measuring import LARGE, SEED, photographs
from .methods import NAMES, methods

__all__ = ["pictures"]

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
COUNT = 4
CROP = 512
"""Pixels of a side of what is shown of the large picture."""
SHOWN = ("bicubic", "map", "joint")


def pictures(study: Study) -> None:
    """Write pictures for the docs.

    nsarm.jpg: the original, what is left of it, and what bicubic, stage 1 and both stages make of that, a row a photograph, under the
    published degradation. nsarm_seams.jpg, where they were measured: a corner of each large picture with and without overlap of tiles.
    """
    ways, rng = methods(study), SampleRng(SEED)
    shown: list[Tensor] = []
    captions: list[str] = []
    for number, image in enumerate(photographs(study, COUNT)):
        low = degrade(image, degradation_of("realesrgan"), rng.row(number, STREAM))
        large = F.interpolate(low[None].float(), size=image.shape[1:], mode="nearest")[0].to(image.dtype)
        shown += [image, large, *(ways[name](low, number) for name in SHOWN)]
        captions += ["original", "input", *(NAMES[name] for name in SHOWN)]
    DOCS.mkdir(exist_ok=True)
    picture_grid(shown, 2 + len(SHOWN), captions, enlarge=1).save(DOCS / "nsarm.jpg", optimize=True, quality=88)
    print(f"{DOCS.name}/nsarm.jpg")
    kept = [
        (name, study.large(number, overlap))
        for number in LARGE
        for name, overlap in (("tiles overlap by 8", None), ("tiles side by side", 0))
    ]
    if all(file.is_file() for _, file in kept):
        crops = [to_tensor(read_picture(file))[:, :CROP, :CROP] for _, file in kept]
        picture_grid(crops, 2, [name for name, _ in kept], enlarge=1).save(
            DOCS / "nsarm_seams.jpg", optimize=True, quality=88
        )
        print(f"{DOCS.name}/nsarm_seams.jpg")
