"""As many hidden tokens per block as its noise level says, towards the block's end with high probability.

Source: Efficient-DLM (arXiv 2512.14067), equation 2.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ar_core.errors import ConfigError

__all__ = ["MaskDraw", "PositionDependent"]


class MaskDraw(NamedTuple):
    """What a draw decides for each token."""

    hidden: Tensor
    """Bool [L], the tokens that are hidden."""
    level: Tensor
    """t of the token's block, float32 [L] in [eps, 1]; the loss of a hidden token is divided by it."""


@dataclass(frozen=True)
class PositionDependent:
    """Position-dependent masking of Efficient-DLM (arXiv 2512.14067, equation 2; NeMo Automodel `corruption.py`).

    Each block of n tokens draws t = eps + (1 - eps) u, u ~ U(0, 1), and hides exactly k = round(t n) of them: the first k
    of a draw without replacement with weights w_i = exp(beta (1 - t) i), beta = ln 2 / (lambda D), i = 0 .. n - 1. As
    t -> 0 the weight doubles every lambda D positions, so that the last masks left stand at the block's end, as they do
    when a block is decoded; at t = 1 all tokens are hidden anyway. The draw is by Gumbel-top-k on log w_i + g_i.

    D is the nominal size also for a block that is shorter. Levels of all blocks are drawn first (one vector), then one
    matrix of uniforms, blocks by positions: the order of the published code, here per sample instead of per batch.

    Raises:
        ConfigError: a setting is out of range.
    """

    block_size: int | None
    """D, the nominal and largest size of a block. None: blocks (whole sequences or documents) of any size, D being each
    one's own, and at least one token of each is hidden."""
    half_life_ratio: float | None = 0.1
    """lambda. Large: uniform over positions, as is None; towards 0: always the last k positions."""
    min_level: float = 1e-3
    """eps: the lowest level, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.block_size is not None and self.block_size < 1:
            raise ConfigError(f"block_size is {self.block_size}, but a block holds at least one token: give 1 or more.")
        if self.half_life_ratio is not None and not 0 < self.half_life_ratio <= math.inf:
            raise ConfigError(
                f"half_life_ratio is {self.half_life_ratio}, but masking weights double over a positive share of a block: "
                "give one such as 0.1, or null for uniform masking."
            )
        if not 0 <= self.min_level <= 1:
            raise ConfigError(
                f"min_level is {self.min_level}, but a noise level lies in [0, 1]: give one, such as 1e-3."
            )

    def __call__(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the hidden positions of one sample; see `MaskSampler`."""
        return self.draw(maskable, blocks, generator).hidden

    def draw(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> MaskDraw:
        """Draw the hidden positions of one sample together with the levels.

        Positions are drawn over all tokens; what may not be hidden is taken away afterwards, so that k is exact where
        everything may be.

        Args:
            maskable: bool [L], True where a token may be hidden.
            blocks: int64 [L], block ids 0, 1, ... in ascending order.
            generator: the sample's own source of randomness, on the CPU.
        """
        sizes = torch.bincount(blocks)
        levels = torch.rand(len(sizes), generator=generator)
        uniforms = torch.rand(len(sizes), self._width(sizes), generator=generator)
        hidden, level = self.select(blocks, levels, uniforms)
        return MaskDraw(hidden & maskable, level)

    def select(self, blocks: Tensor, level_uniforms: Tensor, gumbel_uniforms: Tensor) -> MaskDraw:
        """What given uniforms hide; all blocks at once, nothing random, on their device.

        Args:
            blocks: int64 [L], block ids 0, 1, ... N - 1 in ascending order.
            level_uniforms: float [N] in [0, 1), u of each block.
            gumbel_uniforms: float [N, W] in [0, 1), W at least the longest block: u of each position; those behind the
                end of a shorter block are not used.

        Raises:
            ConfigError: a block is longer than `block_size`.
        """
        sizes = torch.bincount(blocks, minlength=len(level_uniforms))
        width = self._width(sizes)
        if sizes.max() > width:
            raise ConfigError(
                f"a block has {int(sizes.max())} tokens and block_size is {width}: cut blocks to that size."
            )
        level = self.min_level + (1 - self.min_level) * level_uniforms
        count = torch.round(level * sizes).clamp(max=sizes)
        if self.block_size is None:
            count = count.clamp(min=1)
        inside = torch.arange(width, device=blocks.device)
        gumbel = -torch.log(-torch.log(gumbel_uniforms[:, :width] + 1e-9) + 1e-9)
        scores = self._slope(sizes)[:, None] * (1 - level)[:, None] * inside + gumbel
        scores = scores.masked_fill(inside >= sizes[:, None], -math.inf)
        order = scores.argsort(dim=-1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(-1, order, inside.expand_as(order))
        offset = torch.arange(len(blocks), device=blocks.device) - (sizes.cumsum(0) - sizes)[blocks]
        return MaskDraw((rank < count[:, None])[blocks, offset], level[blocks])

    def _width(self, sizes: Tensor) -> int:
        return self.block_size if self.block_size is not None else int(sizes.max())

    def _slope(self, sizes: Tensor) -> Tensor:
        """beta of each block, float32 [N]."""
        if self.half_life_ratio is None:
            return torch.zeros(len(sizes), device=sizes.device)
        nominal = sizes if self.block_size is None else torch.full_like(sizes, self.block_size)
        return math.log(2) / (self.half_life_ratio * nominal.float())
