"""Block diffusion: training layouts and loss, and the block decoder."""

from .decode import decode_blocks
from .layout import (
    BlockDiffusionLayout,
    Grid,
    block_diffusion_layout,
    block_diffusion_mask,
    block_grid,
)
from .loss import Targets, next_token_targets, select_targets, summed_cross_entropy
from .policy import BlockPolicy
from .reveal import reveal

__all__ = [
    "BlockDiffusionLayout",
    "BlockPolicy",
    "Grid",
    "Targets",
    "block_diffusion_layout",
    "block_diffusion_mask",
    "block_grid",
    "decode_blocks",
    "next_token_targets",
    "reveal",
    "select_targets",
    "summed_cross_entropy",
]
