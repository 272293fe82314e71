"""Photographs of a batch with their low-quality counterparts.

Source: ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from torch import Tensor

from ..pixels import to_bytes, to_signed
from .degradation.config import DegradationConfig
from .degradation.degrade import degrade

__all__ = ["STREAM", "degraded"]

STREAM = "degradation"
"""Of the sample's randomness."""


def degraded(batch: Sequence[Mapping[str, Any]], config: DegradationConfig, rng: SampleRng) -> Tensor:
    """Degrade the images of samples, each by its own number: float32 [B, 3, h, w] in [-1, 1].

    Args:
        batch: samples with ``index`` and ``image``, uint8 [3, H, W] or float in [-1, 1].
        config: what is done.
        rng: of the run.

    Raises:
        DataError: a sample has no image, or one that cannot be degraded.
    """
    made = []
    for sample in batch:
        if "image" not in sample:
            raise DataError(f"sample {sample['index']} has no 'image', which is degraded: add it to the data")
        image = sample["image"]
        pixels = image if image.dtype == torch.uint8 else to_bytes(image)
        made.append(to_signed(degrade(pixels, config, rng.row(sample["index"], STREAM))))
    return torch.stack(made)
