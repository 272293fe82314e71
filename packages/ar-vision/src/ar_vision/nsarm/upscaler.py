"""Photographs of any size: tiles, their upscaling in batches, one image, one correction of colours.

Source: ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ar_core.config import require_positive
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError, DataError
from ar_core.pictures import MAX_PIXELS
from ar_core.sampling import row_seed
from torch import Tensor

from ..pixels import to_bytes, to_signed
from ..text.text import Text
from ..tokenizers.bsq.model import BsqTokenizer
from .colour import COLOURS, Colour, corrected
from .decode import NsarmOptions, upscale
from .model import Nsarm
from .tiling import Canvas, TilePlan, default_overlap, padded_to_tile, tile_plan

__all__ = ["Tiling", "Upscaled", "Upscaler"]


@dataclass(frozen=True)
class Tiling:
    """How photographs are cut up and put together.

    Raises:
        ConfigError: a value is out of range.
    """

    overlap: int | None = None
    """Least overlap of neighbouring tiles, in pixels of the small image; null: a quarter of a tile (64 of 256, ours: the published
    code has no tiles)."""
    colour: Colour = "both"
    """Correction of colours: ``adain``, ``wavelet``, ``both`` (published) or ``none``; of the whole image, not of tiles."""
    batch_size: int = 8
    """Tiles of a forward pass; memory only."""

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        if self.overlap is not None and self.overlap < 0:
            raise ConfigError(f"overlap is {self.overlap}; it must be at least 0")
        if self.colour not in COLOURS:
            raise ConfigError(f"colour is {self.colour!r}; choose one of {', '.join(COLOURS)}")


@dataclass(frozen=True)
class Upscaled:
    """A result.

    Attributes:
        image: uint8 [3, factor h, factor w].
        plan: its tiles.
        stats: forwards, rows, and time by phase: ``map``, ``scale``, ``history``, ``pixels``, ``blend`` and ``colour``.
    """

    image: Tensor
    plan: TilePlan
    stats: DecodeStats


class Upscaler:
    """Upscales photographs.

    A tile depends on its own pixels, the text, and its own seed, which is a function of the image's seed and of the tile's number:
    not on its batch.

    Args:
        model: in eval mode, on its device.
        tokenizer: the one that it was trained with.
        options: of the draws.
        tiling: of the photographs.

    Attributes:
        tile: side of a tile in pixels of the small image.

    Raises:
        ConfigError: the overlap is more than half a tile.
    """

    def __init__(self, model: Nsarm, tokenizer: BsqTokenizer, options: NsarmOptions, tiling: Tiling) -> None:
        self.model, self.tokenizer, self.options, self.tiling = model, tokenizer, options, tiling
        self.factor = model.config.factor
        self.tile = model.config.low_side(tokenizer.downsampling)
        self.overlap = default_overlap(self.tile) if tiling.overlap is None else tiling.overlap
        tile_plan(self.tile, self.tile, self.tile, self.overlap)

    def require(self, height: int, width: int) -> None:
        """Refuse a photograph whose result would be too large.

        Raises:
            DataError: it would have more pixels than a picture may have.
        """
        if height * width * self.factor**2 > MAX_PIXELS:
            raise DataError(
                f"a photograph of {width} x {height} pixels was given, whose result would have more than {MAX_PIXELS} pixels: scale it "
                "down, or cut it into parts"
            )

    def __call__(self, low: Tensor, text: Tensor, seed: int = 0) -> Upscaled:
        """Upscale a photograph.

        Args:
            low: uint8 [3, h, w], of any size from one pixel on.
            text: features of its text, float32 [n, Ct], the same for all tiles.
            seed: of the image; tile i has the seed that row i of a batch would have.

        Raises:
            DataError: the result would be too large; or a text does not fit the model.
        """
        height, width = low.shape[1:]
        self.require(height, width)
        plan = tile_plan(height, width, self.tile, self.overlap)
        whole = to_signed(padded_to_tile(low, self.tile))
        canvas, stats = Canvas(plan, self.factor), DecodeStats()
        places = list(plan.places())
        for first in range(0, len(places), self.tiling.batch_size):
            batch = places[first : first + self.tiling.batch_size]
            stats = stats + self._add(canvas, whole, batch, text, seed)
        with stats.timed("colour"):
            result = canvas.image[:, : height * self.factor, : width * self.factor]
            image = to_bytes(corrected(result, to_signed(low), self.tiling.colour))
        return Upscaled(image, plan, stats)

    def _add(
        self, canvas: Canvas, whole: Tensor, batch: Sequence[tuple[int, int, int]], text: Tensor, seed: int
    ) -> DecodeStats:
        device = next(self.model.parameters()).device
        tiles = torch.stack([canvas.plan.cut(whole, row, column) for _, row, column in batch]).to(device)
        seeds = [row_seed(seed, number) for number, _, _ in batch]
        texts = Text.of([text] * len(batch))
        found = upscale(self.model, self.tokenizer, tiles, texts, self.options, seed=seeds)
        with found.stats.timed("blend"):
            for result, (_, row, column) in zip(found.images, batch):
                canvas.add(result, row, column)
        return found.stats
