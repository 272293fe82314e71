"""Forward and backward of the attention of one layer, in the layouts of the step."""

from collections.abc import Mapping
from typing import get_args

import torch
from ar_core.attention import attend
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_core.masks import Mask
from torch import Tensor

from ..kernels.case import disagreement
from .arms import Arm, Views
from .squares import counting

__all__ = ["AttentionAlone"]


class AttentionAlone:
    """Attention over random tensors; its masks are rendered once.

    Args:
        heads: (H, Hkv, D).
        length: L, clean tokens.
        block: diffusion block size.
        device: where.
        dtype: of all tensors.
        limits: largest error ratio (RMS over RMS) of `attention`, output and gradients.
    """

    what = "attention alone"
    launches = False
    held_bytes = 0

    def __init__(
        self,
        heads: tuple[int, int, int],
        length: int,
        block: int,
        device: str,
        dtype: torch.dtype,
        limits: Mapping[str, float],
    ) -> None:
        self.limits = limits
        self._masks: dict[Views, Mask] = {}
        self._given: dict[Views, list[Tensor]] = {}
        self._slopes: dict[Views, Tensor] = {}
        generator = torch.Generator(device).manual_seed(0)
        for views in get_args(Views):
            tokens = block_diffusion_layout(block_grid(length, block), num_views=2, arrangement=views).tokens
            self._masks[views] = block_diffusion_mask(tokens).to(device)
            rows = 2 if views == "stacked" else 1
            *self._given[views], self._slopes[views] = (
                torch.randn(rows, number, tokens.length, heads[2], generator=generator, device=device).to(dtype)
                for number in (*heads[:2], heads[1], heads[0])
            )
            for tensor in self._given[views]:
                tensor.requires_grad_()

    def against(self, arm: Arm) -> Arm:
        """Dense attention in the same layout."""
        return arm.dense

    def agreement(self, arm: Arm) -> tuple[dict[str, float], dict[str, int]]:
        """Output and gradients against those of dense attention, and T x T tensors."""
        expected = self._compute(arm.dense)
        with counting(arm, self._masks[arm.views].shape[3]) as squares:
            found = self._compute(arm)
        return {"attention": disagreement(found, expected)}, squares

    def __call__(self, arm: Arm) -> None:
        """Compute it once, forward and backward."""
        self._compute(arm)

    def _compute(self, arm: Arm) -> tuple[Tensor, ...]:
        given = self._given[arm.views]
        output = attend(given[0], given[1], given[2], self._masks[arm.views], backend=arm.backend)
        return (output.detach(), *torch.autograd.grad(output, given, self._slopes[arm.views]))
