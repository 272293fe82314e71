"""What a generator of images returns.

Source: ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ar_core.decoding import DecodeStats
from torch import Tensor

__all__ = ["GeneratedImages", "OnScale"]

OnScale: TypeAlias = Callable[[int, Tensor], None]
"""Called after each scale k with the features [B, Cv, H, W] known so far, which the tokenizer's ``decode`` turns into images."""


@dataclass(frozen=True)
class GeneratedImages:
    """Images of a batch, in the order of the conditions.

    Attributes:
        images: float32 [B, 3, H, W] in [-1, 1].
        codes: tokens of each scale, int64 [B, L_k] (bits: [B, L_k, d]); a raster generator has one entry, [B, L].
        stats: forwards, rows and time of the whole batch.
    """

    images: Tensor
    codes: list[Tensor]
    stats: DecodeStats
