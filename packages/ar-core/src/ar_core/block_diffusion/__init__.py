"""Block diffusion: training layouts and loss, and the block decoder."""

from .layout import (
    BlockDiffusionLayout,
    Grid,
    block_diffusion_layout,
    block_diffusion_mask,
    block_grid,
)
from .loss import Targets, select_targets, summed_cross_entropy

__all__ = [
    "BlockDiffusionLayout",
    "Grid",
    "Targets",
    "block_diffusion_layout",
    "block_diffusion_mask",
    "block_grid",
    "select_targets",
    "summed_cross_entropy",
]
