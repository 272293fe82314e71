"""LlamaGen's transformer (arXiv 2406.06525): a condition, then the codes of an image in raster order, under a causal mask."""

from __future__ import annotations

from typing import ClassVar

import torch
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from ar_core.masks import Mask
from torch import Generator, Tensor, nn

from ...decoding.raster_mask import raster_mask
from .conditions import ClassCondition, TextCondition
from .config import LlamaGenConfig
from .layers import Layer, RmsNorm
from .rotary import rotary_table

__all__ = ["LlamaGen"]


class LlamaGen(nn.Module):
    """The sequence is `[condition (P), code 0, ..., code L-2]`; position P - 1 + i predicts code i.

    Shapes: R rows, n tokens of a pass, C width, V codes, L = g² codes of an image, P condition positions.

    Args:
        config: sizes. Weights are those of torch until they are loaded, or :meth:`initialize` is called.
    """

    kind: ClassVar[str] = "llamagen"

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.config = config
        self.condition: ClassCondition | TextCondition = (
            ClassCondition(config) if config.condition == "class" else TextCondition(config)
        )
        self.codes = nn.Embedding(config.vocab_size, config.dim)
        self.dropout = nn.Dropout(config.token_dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.dim, eps=config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights: normal matrices and embeddings, a head of zeros, so that the first loss is ln V."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0)
            elif name == "output.weight":
                parameter.zero_()
            elif name == "condition.null_features":
                parameter.normal_(0.0, self.config.text_dim**-0.5, generator=generator)
            else:
                parameter.normal_(0.0, self.config.init_std, generator=generator)

    @property
    def loss_head(self) -> LinearHead:
        """The head as losses take it."""
        return LinearHead(self.output.weight)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.output.weight.device

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache of all layers."""
        config = self.config
        return WindowedKVCache(
            config.layers, rows, config.heads, config.head_dim, capacity, self.output.weight.dtype, self.device
        )

    def embed(self, codes: Tensor) -> Tensor:
        """Return the inputs `[R, n, C]` of codes int64 `[R, n]`."""
        return self.codes(codes)

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
            `[R, n, C]`, ready for :meth:`head`.
        """
        config = self.config
        table = rotary_table(config.grid, config.head_dim, config.prefix, config.rope_base, x.device)
        table = table[start : start + x.shape[1]]
        x = self.dropout(x)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, mask, cache, index)
        return self.norm(x)

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits `[..., V]`."""
        return self.output(hidden)

    def teacher_forced(self, condition: Tensor, codes: Tensor, valid: Tensor | None = None) -> Tensor:
        """Run the whole sequence at once.

        Args:
            condition: `[B, P, C]`.
            codes: int64 `[B, L]`, or fewer; the last one is predicted and never fed.
            valid: bool `[B, P]`, condition positions that hold something; None: all.

        Returns:
            `[B, L, C]`: what predicts each code, ready for :meth:`head`.
        """
        x = torch.cat([condition, self.embed(codes[:, :-1])], dim=1)
        mask = raster_mask(0, x.shape[1], valid, self.device)
        return self.hidden(x, mask=mask)[:, condition.shape[1] - 1 :]
