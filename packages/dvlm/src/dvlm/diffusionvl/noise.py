"""Noise levels of DiffusionVL: one a block, spread over strata, and the tokens that they hide.

Source: DiffusionVL (arXiv 2512.15713) and its published code; `shuffled_levels` is ours.
"""

from dataclasses import dataclass

import torch
from ar_core.corruption.position_dependent import MaskDraw
from torch import Tensor

from .config import NoiseStrata

__all__ = ["BlockNoise", "flat_index_levels", "shuffled_levels"]


def flat_index_levels(uniforms: Tensor) -> Tensor:
    """One stratum a block, in order: t = (u / BN + (b N + n) / BN) mod 1 (published code).

    Args:
        uniforms: float [B, N] in [0, 1).

    Returns:
        [B, N]; block n of row b lies in stratum b N + n, so that levels rise along the batch.
    """
    count = uniforms.numel()
    order = torch.arange(count, dtype=uniforms.dtype, device=uniforms.device).view(uniforms.shape)
    return (uniforms / count + order / count) % 1


def shuffled_levels(uniforms: Tensor, chosen: Tensor, permutation: Tensor) -> Tensor:
    """One stratum for each chosen block, in random order; the others keep their uniform.

    Args:
        uniforms: float [N] in [0, 1).
        chosen: bool [N], K of them.
        permutation: int64 [K], of 0 to K - 1.

    Returns:
        [N]; each chosen block's level is uniform on [0, 1), and every stratum of length 1 / K holds one of them.
    """
    levels = uniforms.clone()
    levels[chosen] = (permutation + uniforms[chosen]) / max(len(permutation), 1)
    return levels


@dataclass(frozen=True)
class BlockNoise:
    """Hides a supervised token of block n if u <= t_n, with t_n = t01_n (max - min) + min.

    Levels of all blocks are drawn first (one vector), then, where strata are shuffled, their order, then one uniform a token.
    """

    strata: NoiseStrata
    """How t01 spreads over blocks."""
    min_level: float = 1e-3
    """Lowest level."""
    max_level: float = 1.0
    """Highest level."""

    def draw(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> MaskDraw:
        """Draw for one sample.

        Args:
            maskable: bool [L], supervised tokens.
            blocks: int64 [L], block ids 0, 1, ... in ascending order.
            generator: the sample's own, on the CPU.
        """
        count = int(blocks[-1]) + 1
        uniforms = torch.rand(count, generator=generator)
        if self.strata == "flat_index":
            levels = flat_index_levels(uniforms[None])[0]
        elif self.strata == "supervised_shuffled":
            chosen = torch.zeros(count, dtype=torch.bool)
            chosen[blocks[maskable]] = True
            permutation = torch.randperm(int(chosen.sum()), generator=generator)
            levels = shuffled_levels(uniforms, chosen, permutation)
        else:
            levels = uniforms
        return self.select(maskable, blocks, levels, torch.rand(len(blocks), generator=generator))

    def select(self, maskable: Tensor, blocks: Tensor, levels: Tensor, uniforms: Tensor) -> MaskDraw:
        """What given levels and uniforms hide; nothing random.

        Args:
            maskable: bool [L].
            blocks: int64 [L].
            levels: t01, float [N].
            uniforms: float [L] in [0, 1).
        """
        level = (levels * (self.max_level - self.min_level) + self.min_level)[blocks]
        return MaskDraw((uniforms <= level) & maskable, level)
