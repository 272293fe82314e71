"""What causal transformers over a condition and the codes of an image in raster order share.

Source: LlamaGen (arXiv 2406.06525), section 2.2; what it shares with FAR: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Generator, Tensor, nn

from ...decoding.raster import PickCode
from ...decoding.raster_mask import raster_mask
from .conditions import ClassCondition, TextCondition
from .config import LlamaGenConfig
from .layers import Layer, RmsNorm
from .rotary import rotary_table

__all__ = ["RasterTransformer"]


class RasterTransformer(nn.Module):
    """The sequence is `[condition (P), code 0, ..., code L-2]`; position P - 1 + i predicts code i.

    Shapes: R rows, n tokens of a pass, C width, L = g² codes of an image, P condition positions.

    Args:
        shape: sizes; V is not used here.
        codes: from codes int64 `[R, n]` to inputs `[R, n, C]`.
    """

    kind: ClassVar[str]

    def __init__(self, shape: LlamaGenConfig, codes: nn.Module) -> None:
        super().__init__()
        self.shape = shape
        self.condition: ClassCondition | TextCondition = (
            ClassCondition(shape) if shape.condition == "class" else TextCondition(shape)
        )
        self.codes = codes
        self.dropout = nn.Dropout(shape.token_dropout)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.dim, eps=shape.norm_eps)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.norm.weight.device

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache of all layers."""
        shape = self.shape
        return WindowedKVCache(
            shape.layers, rows, shape.heads, shape.head_dim, capacity, self.norm.weight.dtype, self.device
        )

    def embed(self, codes: Tensor) -> Tensor:
        """Return the inputs `[R, n, C]` of codes int64 `[R, n]`."""
        out: Tensor = self.codes(codes)
        return out

    def hidden(
        self, x: Tensor, *, start: int = 0, mask: Mask | None = None, cache: WindowedKVCache | None = None
    ) -> Tensor:
        """Run the layers over n neighbouring tokens of each row.

        Args:
            x: inputs `[R, n, C]`, of the condition or of :meth:`embed`.
            start: place of the first of them in the sequence.
            mask: who sees whom; with a cache, keys are its slots. None: everything visible.
            cache: holds what lies before `start`; its window must be set.

        Returns:
            `[R, n, C]`, ready for the head.
        """
        shape = self.shape
        table = rotary_table(shape.grid, shape.head_dim, shape.prefix, shape.rope_base, x.device)
        table = table[start : start + x.shape[1]]
        x = self.dropout(x)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, mask, cache, index)
        out: Tensor = self.norm(x)
        return out

    def draw(
        self, place: int, hidden: Tensor, batch: int, scale: float, pick: PickCode, generators: Sequence[Generator]
    ) -> tuple[Tensor, Tensor]:
        """Choose the codes of a place; see `RasterBackbone.draw`."""
        raise NotImplementedError

    def teacher_forced(self, condition: Tensor, codes: Tensor, valid: Tensor | None = None) -> Tensor:
        """Run the whole sequence at once.

        Args:
            condition: `[B, P, C]`.
            codes: int64 `[B, L]`, or fewer; the last one is predicted and never fed.
            valid: bool `[B, P]`, condition positions that hold something; None: all.

        Returns:
            `[B, L, C]`: what predicts each code, ready for the head.
        """
        x = torch.cat([condition, self.embed(codes[:, :-1])], dim=1)
        mask = raster_mask(0, x.shape[1], valid, self.device)
        return self.hidden(x, mask=mask)[:, condition.shape[1] - 1 :]
