"""xAR's transformer (arXiv 2502.20388): cells of continuous features, each at a time of its own, under a block-causal mask.

Shapes: R rows, k cells of a pass of m places each, n = k m tokens, C width, Cv channels.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Generator, Tensor, nn

from ..adaln import AdaFeedForward, ConditionLinear, initialize_linear, modulate
from .cells import cell_mask
from .config import XarConfig

__all__ = ["Xar"]

FREQUENCIES = 128
"""Of the time, each as sine and cosine."""


class Block(nn.Module):
    """Attention and feed-forward between layer norms that the condition of each cell scales, shifts and gates (adaLN).

    Args:
        config: sizes.
    """

    def __init__(self, config: XarConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.modulation = ConditionLinear(config.dim, 6)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.ffn = AdaFeedForward(config.dim, 4 * config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, condition: Tensor, mask: Mask | None, cache: WindowedKVCache | None, layer: int
    ) -> Tensor:
        """`[R, n, C]` to the same, under conditions `[R, k, C]`."""
        gate_1, gate_2, scale_1, scale_2, shift_1, shift_2 = _of_cells(self.modulation, condition, x)
        heads = self.qkv(modulate(x, scale_1, shift_1)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind()
        if cache is not None:
            k, v = cache.update(layer, k, v)
        x = x + gate_1 * self.dropout(self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2)))
        out: Tensor = x + gate_2 * self.dropout(self.ffn(modulate(x, scale_2, shift_2)))
        return out


class Xar(nn.Module):
    """The velocity of every cell, from it at its time and from the cells before it.

    Args:
        config: sizes. Weights are those of torch until they are loaded, or :meth:`initialize` is called.
    """

    kind: ClassVar[str] = "xar"

    def __init__(self, config: XarConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.code_dim, config.dim)
        self.positions = nn.Parameter(torch.zeros(config.grid**2, config.dim))
        self.labels = nn.Embedding(config.num_classes + 1, config.dim)
        self.time_in = nn.Linear(2 * FREQUENCIES, config.dim)
        self.time_out = nn.Linear(config.dim, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head_modulation = ConditionLinear(config.dim, 2)
        self.output = nn.Linear(config.dim, config.code_dim)

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights: matrices and embeddings normal with 0.02, modulations and output zero: every block is the identity."""
        initialize_linear(self, 0.02, generator)
        self.positions.normal_(0.0, 0.02, generator=generator)
        for part in self.modules():
            if isinstance(part, ConditionLinear):
                part.linear.weight.zero_()
        self.output.weight.zero_()

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.output.weight.device

    def new_cache(self, rows: int) -> WindowedKVCache:
        """Return an empty cache for all cells but the last, which is only written."""
        config, weight = self.config, self.output.weight
        capacity = config.cells * config.places
        return WindowedKVCache(
            config.layers, rows, config.heads, config.dim // config.heads, capacity, weight.dtype, weight.device
        )

    def velocity(
        self,
        x: Tensor,
        time: Tensor,
        labels: Tensor,
        *,
        first: int = 0,
        mask: Mask | None = None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Run the layers over neighbouring cells.

        Args:
            x: `[R, n, Cv]`, features divided by `latent_std` in the order of `.cells.to_cells`, noised.
            time: `[R, k]` in [0, 1], of each cell.
            labels: classes int64 `[R]`; the number behind the last is none.
            first: number of the first of the cells.
            mask: who sees whom; None: everything visible, as for one cell on a cache.
            cache: holds the cells before; its window must be set.

        Returns:
            float32 or better, `[R, n, Cv]`.
        """
        places = self.config.places
        condition = self.labels(labels)[:, None] + self._time(time)
        start = first * places
        h = self.input(x.to(self.input.weight.dtype)) + self.positions[start : start + x.shape[1]]
        for index, block in enumerate(self.blocks):
            h = block(h, condition, mask, cache, index)
        scale, shift = _of_cells(self.head_modulation, condition, h)
        found = self.output(modulate(h, scale, shift))
        out: Tensor = found.to(torch.promote_types(found.dtype, torch.float32))
        return out

    def teacher_forced(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """Return the velocities of all cells at once, each at its own time and seeing those before it as they are noised.

        Args:
            x: `[B, g², Cv]`.
            time: `[B, K]`.
            labels: int64 `[B]`.
        """
        config = self.config
        return self.velocity(x, time, labels, mask=cell_mask(config.cells, config.places, x.device))

    def _time(self, time: Tensor) -> Tensor:
        """`[R, k, C]` of times `[R, k]`."""
        frequencies = torch.exp(
            -math.log(10000) * torch.arange(FREQUENCIES, dtype=torch.float32, device=time.device) / FREQUENCIES
        )
        angles = 1000 * time.float()[..., None] * frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(self.time_in.weight.dtype)
        out: Tensor = self.time_out(F.silu(self.time_in(waves)))
        return out


def _of_cells(modulation: ConditionLinear, condition: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """The vectors of a modulation at every token: P tensors `[R, n, C]` of conditions `[R, k, C]`."""
    rows, cells = condition.shape[:2]
    found = modulation(condition.flatten(0, 1)).unflatten(0, (rows, cells)).squeeze(2)
    return tuple(part.repeat_interleave(x.shape[1] // cells, dim=1) for part in found.unbind(2))
