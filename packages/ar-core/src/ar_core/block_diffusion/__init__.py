"""Block diffusion: training layouts and loss, and the block decoder."""

from .decode import decode_blocks
from .layout import (
    BlockDiffusionLayout,
    Grid,
    block_diffusion_layout,
    block_diffusion_mask,
    block_grid,
)
from .likelihood import chain_log_likelihood, first_token_log_likelihood, nelbo_log_likelihood
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
    "chain_log_likelihood",
    "decode_blocks",
    "first_token_log_likelihood",
    "nelbo_log_likelihood",
    "next_token_targets",
    "reveal",
    "select_targets",
    "summed_cross_entropy",
]
