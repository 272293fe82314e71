"""LlamaGen's transformer (arXiv 2406.06525): a condition, then the codes of an image in raster order, under a causal mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from ar_core.linear_head import LinearHead
from torch import Generator, Tensor, nn

from ...decoding.raster import PickCode, draw_code
from .config import LlamaGenConfig
from .trunk import RasterTransformer

__all__ = ["LlamaGen"]


class LlamaGen(RasterTransformer):
    """The transformer with one table of codes and one head.

    Shapes: as those of `RasterTransformer`; V codes.

    Args:
        config: sizes. Weights are those of torch until they are loaded, or :meth:`initialize` is called.
    """

    kind: ClassVar[str] = "llamagen"
    codes: nn.Embedding
    """Table of the codes, V rows."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__(config, nn.Embedding(config.vocab_size, config.dim))
        self.config = config
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

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits `[..., V]`."""
        out: Tensor = self.output(hidden)
        return out

    def draw(
        self, place: int, hidden: Tensor, batch: int, scale: float, pick: PickCode, generators: Sequence[Generator]
    ) -> tuple[Tensor, Tensor]:
        """Choose the codes of a place; see `RasterBackbone.draw`."""
        return draw_code(self.head, place, hidden, batch, scale, pick, generators)
