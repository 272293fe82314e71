"""Ways from a small photograph to a large one, and the way that knows the large one."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.sampling import row_seed
from ar_vision.checkpoint import Loaded, load_checkpoint
from ar_vision.nsarm.colour import corrected
from ar_vision.nsarm.measure import Restore, bicubic
from ar_vision.nsarm.opening import UpscalingConfig, open_upscaler
from ar_vision.nsarm.tiling import Canvas, default_overlap, tile_plan
from ar_vision.pixels import to_bytes, to_signed
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from ar_vision.tokenizers.training.reconstruction import reconstruct
from torch import Tensor

from .arms import ARMS, Study

__all__ = ["CEILING", "FACTOR", "NAMES", "ceiling", "methods", "opened"]

FACTOR = 4
CEILING = "ceiling"
NAMES: Mapping[str, str] = {
    "bicubic": "bicubic",
    "tokenizer": "bicubic, through the tokenizer",
    "map": "stage 1 alone",
    "map_greedy": "stage 1 alone, greedy",
    "joint": "both stages",
    "joint_greedy": "both stages, greedy",
    "joint_raw": "both stages, colours as they come",
    "map_longer": "stage 1 alone, as many steps as both",
    "map_seven": "seven scales of M: stage 1 alone",
    "joint_seven": "seven scales of M: both stages",
    CEILING: "tokenizer, from the original",
}
SETTINGS: Mapping[str, dict[str, Any]] = {
    "map_greedy": {"temperature": 0.0},
    "joint_greedy": {"temperature": 0.0},
    "joint_raw": {"colour": "none"},
}
"""Of decoding, where they are not the usual ones."""


def opened(study: Study, method: str) -> Restore:
    """An arm, ready to upscale on a CPU."""
    arm = method.partition("_")[0] if method in SETTINGS else method
    own: dict[str, Any] = {"checkpoint": str(study.model(arm)), "tokenizer": str(study.tokenizer), "device": "cpu"}
    found = open_upscaler(UpscalingConfig(**own, **SETTINGS.get(method, {})))
    text = found.features(found.prompt)
    return lambda low, number: found.upscaler(low, text, row_seed(study.seed, number)).image


def methods(study: Study) -> dict[str, Restore]:
    """All ways from the small photograph, by name; arms that were trained beside the usual ones too."""
    names = ["map", "map_greedy", "joint", "joint_greedy", "joint_raw"]
    names += [arm for arm in ARMS if arm not in names and study.of(arm).is_dir()]
    plain = {"bicubic": bicubic(FACTOR), "tokenizer": partial(requantised, study.tokenizer)}
    return {**plain, **{name: opened(study, name) for name in names}}


def requantised(tokenizer: Path, low: Tensor, number: int) -> Tensor:
    """The bicubic image through the tokenizer, with the usual correction of colours: what neither M nor the transformer has a share in."""
    again = to_signed(ceiling(tokenizer, bicubic(FACTOR)(low, number)))
    return to_bytes(corrected(again, to_signed(low), "both"))


def ceiling(tokenizer: Path, image: Tensor) -> Tensor:
    """The original through the tokenizer, in the tiles and scales of super-resolution, its colours as they come: about the best that a model
    which writes its bits can do.

    Args:
        tokenizer: folder.
        image: uint8 [3, H, W].
    """
    loaded = _opened_tokenizer(tokenizer)
    model = cast(BsqTokenizer, loaded.model)
    schedule = ScaleSchedule.of([int(side) for side in str(loaded.provenance["scales"]).split(",")])
    side = schedule.height * model.downsampling
    plan = tile_plan(
        image.shape[1] // FACTOR, image.shape[2] // FACTOR, side // FACTOR, default_overlap(side // FACTOR)
    )
    canvas, signed = Canvas(plan, FACTOR), to_signed(image)
    with torch.no_grad():
        for _, row, column in plan.places():
            top, left = plan.rows.starts[row] * FACTOR, plan.columns.starts[column] * FACTOR
            tile = signed[:, top : top + side, left : left + side]
            canvas.add(reconstruct(model, tile[None], schedule)[0][0], row, column)
    return to_bytes(canvas.image)


@cache
def _opened_tokenizer(tokenizer: Path) -> Loaded:
    loaded = load_checkpoint(tokenizer, "tokenizer")
    loaded.model.float()
    return loaded
