"""Drawing many images so that anyone gets the same ones: labels in rounds, a seed for each image, chunks that survive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.errors import ConfigError
from ar_core.sampling import row_seed
from ar_core.training import Chunk, StageConfig, StageJob, StageResult, run_stage
from ar_core.training.device import choose_device

from ..pixels import to_bytes
from .drawn_images import cycled
from .generation import ImageGenerator

__all__ = ["ProtocolConfig", "draw", "protocol_identity"]


@dataclass(frozen=True)
class ProtocolConfig:
    """Which images are drawn.

    Raises:
        ConfigError: a value is out of range.
    """

    labels: tuple[int, ...]
    """One round of labels; image i has label ``labels[i mod len(labels)]``."""
    count: int
    """Images in all; 50 for each of 1,000 classes is the published protocol of ImageNet."""
    seed: int = 0
    """Image i draws from the stream ``row_seed(seed, i)``: batch size and shards change nothing."""

    def __post_init__(self) -> None:
        if not self.labels:
            raise ConfigError("labels is empty: give at least one class")
        if self.count < 1:
            raise ConfigError(f"{self.count} images were asked for: give at least 1")


def draw(generator: ImageGenerator, config: ProtocolConfig, stage: StageConfig, *, batch_size: int = 16) -> StageResult:
    """Draw this run's share of the images into the folder of ``stage``, which `open_drawn` reads when all are there.

    A run that was killed goes on at its first missing chunk. What decides the images is kept in the folder, and a run that
    would draw others is refused.

    Args:
        generator: what draws.
        config: labels, count and seed.
        stage: folder, shard and size of a chunk.
        batch_size: images of a forward pass; memory only. Images are those of any other batch size up to what the device's
            matrix products round differently for other shapes.

    Raises:
        DataError: a label is no class of the model, or an image is no image.
        ResumeError: the folder holds images of another protocol, checkpoint or setting.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}, but must be at least 1: give a positive integer")
    generator.require(config.labels)

    def make(first: int, labels: Sequence[int]) -> Chunk:
        parts = []
        for start in range(0, len(labels), batch_size):
            batch = labels[start : start + batch_size]
            seeds = [row_seed(config.seed, first + start + place) for place in range(len(batch))]
            parts.append(to_bytes(generator.sample(batch, seeds).images).cpu())
        return Chunk({"images": torch.cat(parts), "labels": torch.tensor(labels)}, {"images": len(labels)})

    items = cycled(list(config.labels), config.count)
    job = StageJob(
        items=items, make=make, total=len(items), identity=protocol_identity(generator, config, stage.device)
    )
    return run_stage(job, stage)


def protocol_identity(generator: ImageGenerator, config: ProtocolConfig, device: str) -> dict[str, Any]:
    """What decides the images, JSON-able; the kind of device does, since each rounds in its own way."""
    return {
        "labels": list(config.labels),
        "count": config.count,
        "seed": config.seed,
        "device": choose_device(device).type,
        "generator": dict(generator.facts),
    }
