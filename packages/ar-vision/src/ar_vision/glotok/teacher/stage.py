"""The stage: classes in, cluster centres of their pictures' features out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ar_core.config import to_dict
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.training import Chunk, StageConfig, StageJob
from ar_core.training.device import choose_device
from torch import Tensor

from ...data.codes.stage import described
from ...data.collections import Pictures, open_pictures
from ...data.config import ImageDataConfig
from ...data.transforms import Transform
from .clusters import cluster_centres
from .config import GlotokTeacherConfig
from .features import PatchFeatures, open_patch_features

__all__ = ["GlotokTeacherRun", "build"]


@dataclass(frozen=True, kw_only=True)
class GlotokTeacherRun:
    """A whole stage, section by section, as a YAML file holds it.

    Raises:
        ConfigError: The data would be drawn anew in every epoch.
    """

    data: ImageDataConfig
    """The pictures."""
    method: GlotokTeacherConfig
    """From pictures to centres."""
    stage: StageConfig
    """Where the centres go, and which share of the classes this run does; ``chunk_size`` counts classes."""

    def __post_init__(self) -> None:
        if self.data.held_out or self.data.flip or self.data.transform in ("var", "adm_random"):
            raise ConfigError(
                "data.held_out, data.flip and the transforms var and adm_random belong to training: a teacher is made once of whole "
                "pictures, leave them out and set the transform adm_centre, infinity or none"
            )


def build(run: GlotokTeacherRun) -> StageJob:
    """Read the network and sort the pictures by class.

    Raises:
        ConfigError: pictures have no classes and no number of groups was given.
        ArError: as reading the network and the data does.
    """
    method = run.method
    pictures = open_pictures(run.data)
    groups = grouped(pictures, run.data.count, method)
    features = open_patch_features(method.features, choose_device(run.stage.device))
    transform = Transform(run.data.transform, run.data.shape)

    def image(number: int) -> Tensor:
        picture = pictures[number]
        return transform(picture.pixels(run.data.background), picture.place)

    def make(first: int, items: Sequence[int]) -> Chunk:
        centres, sizes = [], []
        for group in items:
            numbers = groups[group]
            parts = [
                pooled(features, torch.stack([image(int(number)) for number in batch]), method.pool)
                for batch in np.split(numbers, list(range(method.batch_size, len(numbers), method.batch_size)))
            ]
            generator = SampleRng(method.seed).row(group, "first centres")
            found = cluster_centres(torch.cat(parts), method.clusters, generator, iterations=method.iterations)
            centres.append(found[0].cpu())
            sizes.append(found[1].cpu())
        tensors = {"centres": torch.cat(centres), "sizes": torch.cat(sizes)}
        return Chunk(tensors, {"groups": len(items), "pictures": sum(len(groups[group]) for group in items)})

    unused = ("batch_size", "features")
    return StageJob(
        items=range(len(groups)),
        make=make,
        total=len(groups),
        identity={
            "data": {**described(run.data), "fingerprint": pictures.fingerprint, "count": run.data.count},
            "features": dict(features.facts),
            "method": {name: value for name, value in to_dict(method).items() if name not in unused},
            "groups": len(groups),
        },
    )


def grouped(pictures: Pictures, count: int | None, method: GlotokTeacherConfig) -> list[np.ndarray]:
    """Return the numbers of each group's pictures, int64.

    Raises:
        ConfigError: pictures have no classes and no number of groups was given.
        DataError: there are fewer pictures than groups.
    """
    total = min(count or len(pictures), len(pictures))
    if method.groups is not None:
        if total < method.groups:
            raise DataError(f"{total} pictures were given for {method.groups} groups: set method.groups lower")
        found = [np.arange(group, total, method.groups) for group in range(method.groups)]
    elif pictures.labels is None:
        raise ConfigError("the pictures have no classes to be clustered in: set method.groups to a number, such as 1")
    else:
        labels: Any = pictures.labels[:total]
        found = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [numbers[: method.pictures_per_group] for numbers in found]


@torch.no_grad()
def pooled(features: PatchFeatures, images: Tensor, side: int) -> Tensor:
    """Return the feature map of images uint8 `[B, 3, H, W]`, averaged to side x side: vectors `[B side², d]`.

    Raises:
        ConfigError: the map is coarser than that, so that vectors would repeat.
    """
    maps = features(images)
    height, width = maps.shape[2:]
    if min(height, width) < side:
        raise ConfigError(
            f"method.pool is {side} and the network's maps have {width} x {height} places: set it to at most {min(height, width)}, take "
            "larger images or an earlier layer"
        )
    found = F.adaptive_avg_pool2d(maps, side)
    return found.permute(0, 2, 3, 1).flatten(0, 2)
