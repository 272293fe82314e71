"""The stage that encodes: pictures in, chunks of codes out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from ar_core.config import expand_path, to_dict
from ar_core.errors import ConfigError
from ar_core.training import Chunk, StageConfig, StageJob
from ar_core.training.device import choose_device

from ar_vision.checkpoint import fingerprint, load_checkpoint
from ar_vision.pixels import to_signed
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.image_grid import schedule_of_images

from ..collections import Pictures, open_pictures
from ..config import ImageDataConfig
from ..decoded import picture_key
from ..transforms import Transform, views
from .config import ImageCodesConfig
from .layout import pack_captions, pack_codes

__all__ = ["ImageCodesRun", "build", "described"]


@dataclass(frozen=True)
class ImageCodesRun:
    """A whole stage, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    tokenizer: str
    """Folder of the tokenizer's checkpoint; `~` and `$NAME` are expanded."""
    data: ImageDataConfig
    """The pictures, all of which are encoded: whoever trains on the codes decides what is held out."""
    stage: StageConfig
    """Where the codes go, and which share of them."""
    method: ImageCodesConfig = field(default_factory=ImageCodesConfig)
    """Scales and augmentations."""

    def __post_init__(self) -> None:
        if self.data.held_out:
            raise ConfigError(
                "data.held_out is set, and all pictures are encoded: set it where the codes are trained on"
            )
        if self.data.flip or self.data.transform == "adm_random":
            raise ConfigError(
                "data.flip and the transform adm_random draw anew in every epoch, and codes are made once: set method.views, and "
                "a transform without draws (adm_centre)"
            )
        if self.method.views == "ten_crop" and self.data.transform != "adm_centre":
            raise ConfigError(
                f"data.transform is {self.data.transform!r} and the views ten_crop are cut from ADM's centre crop: set adm_centre"
            )


def build(run: ImageCodesRun) -> StageJob:
    """Load the tokenizer and open the pictures.

    Raises:
        ConfigError: image size, tokenizer and scales do not fit together.
        ArError: as loading the tokenizer and the data does.
    """
    loaded = load_checkpoint(expand_path(run.tokenizer), role="tokenizer", dtype=torch.float32)
    tokenizer: Any = loaded.model.to(choose_device(run.stage.device))
    schedule = schedule_of_images(run.method.scales, run.data.shape, tokenizer.downsampling)
    pictures = open_pictures(run.data)
    count = min(run.data.count or len(pictures), len(pictures))
    bits = getattr(tokenizer, "bits", None)
    transform = Transform(run.data.transform, run.data.shape)

    def make(first: int, items: Sequence[int]) -> Chunk:
        images, keys, captions = [], [], []
        for number in items:
            picture = pictures[number]
            pixels = picture.pixels(run.data.background)
            images.append(views(pixels, transform, run.method.views, picture.place, run.method.crop_scales))
            keys.append(picture_key(pixels))
            captions.append(picture.captions)
        stacked = torch.stack(images)
        packed = [
            pack_codes(_encoded(tokenizer, batch, schedule), None if bits else tokenizer.vocab_size)
            for batch in stacked.flatten(0, 1).split(run.method.batch_size)
        ]
        tensors = {
            "codes": torch.cat(packed).unflatten(0, stacked.shape[:2]),
            "key": torch.tensor(keys, dtype=torch.int64),
            **_labels(pictures, items),
            **(pack_captions(captions) if pictures.captioned else {}),
        }
        return Chunk(tensors, {"pictures": len(items), "images": stacked.shape[0] * stacked.shape[1]})

    return StageJob(
        items=range(count),
        make=make,
        total=count,
        identity={
            "data": {**described(run.data), "fingerprint": pictures.fingerprint, "pictures": count},
            "tokenizer": fingerprint(loaded.model),
            "schedule": [list(size) for size in schedule.sizes],
            "bits": bits,
            "vocab_size": None if bits else tokenizer.vocab_size,
            "classes": list(pictures.classes) if pictures.classes else None,
        },
    )


@torch.no_grad()
def _encoded(tokenizer: Any, images: torch.Tensor, schedule: ScaleSchedule) -> list[torch.Tensor]:
    weight = next(tokenizer.parameters())
    out: list[torch.Tensor] = tokenizer.quantize(
        tokenizer.encode(to_signed(images.to(weight.device)).to(weight.dtype)), schedule
    )
    return out


def _labels(pictures: Pictures, items: Sequence[int]) -> dict[str, torch.Tensor]:
    if pictures.labels is None:
        return {}
    return {"label": torch.from_numpy(pictures.labels[items[0] : items[-1] + 1].copy())}


def described(data: ImageDataConfig) -> dict[str, Any]:
    """Return the settings that decide what pictures become, JSON-able."""
    unused = {"path", "kind", "cache", "cache_dir", "held_out", "flip", "shortest_crop", "caption", "count"}
    return {name: value for name, value in to_dict(data).items() if name not in unused}
