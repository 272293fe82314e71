"""Block diffusion: training layouts and loss, and the block decoder."""

from ar_core.block_diffusion.layout import BlockDiffusionLayout, Grid, block_diffusion_layout, block_grid
from ar_core.block_diffusion.loss import IGNORED, Targets, select_targets, summed_cross_entropy

__all__ = [
    "IGNORED",
    "BlockDiffusionLayout",
    "Grid",
    "Targets",
    "block_diffusion_layout",
    "block_grid",
    "select_targets",
    "summed_cross_entropy",
]
