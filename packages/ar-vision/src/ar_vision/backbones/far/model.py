"""FAR's transformer (arXiv 2411.16681, section 3.4): a class, then the pairs of an image in raster order, under a causal mask."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ...decoding.guidance import doubled
from ...decoding.raster import PickCode, draw_code
from ...tokenizers.dual_vq.paired import joined, parted
from ..llamagen.trunk import RasterTransformer
from .config import FarConfig
from .head import FactorisedHead, PairEmbedding

__all__ = ["Far"]


class Far(RasterTransformer):
    """LlamaGen's layers over pairs of codes, numbered as `DualVqTokenizer` does, with a factorised head.

    An image takes as many passes as it has cells, and twice as many codes.

    Args:
        config: sizes. Weights are those of torch until they are loaded, or :meth:`initialize` is called.
    """

    kind: ClassVar[str] = "far"
    codes: PairEmbedding
    """Embedding of pairs."""

    def __init__(self, config: FarConfig) -> None:
        super().__init__(config.trunk, PairEmbedding(config))
        self.config = config
        self.head = FactorisedHead(config)

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights: normal matrices and embeddings, outputs of zeros, so that the first loss is (ln n_1 + ln n_2) / 2."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0)
            elif name.endswith("_output.weight"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, self.config.init_std, generator=generator)

    def predictions(self, hidden: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return what predicts the two codes of every cell under teacher forcing, `[B, L, C]` each, ready for the outputs.

        Args:
            hidden: `[B, L, C]`, of :meth:`teacher_forced`.
            codes: pairs int64 `[B, L]`.
        """
        first, _ = parted(codes, self.config.vocab_sizes[1])
        places = torch.stack([hidden, self.codes.first(first).type_as(hidden)], dim=2)
        found = self.head(places.flatten(0, 1)).unflatten(0, hidden.shape[:2])
        return found[:, :, 0], found[:, :, 1]

    def draw(
        self, place: int, hidden: Tensor, batch: int, scale: float, pick: PickCode, generators: Sequence[Generator]
    ) -> tuple[Tensor, Tensor]:
        """Choose the pairs of a place: the first code, then the second behind it, each guided; see `RasterBackbone.draw`.

        ``pick`` is called twice. The head's cache lives as long as the place.
        """
        head = self.head
        # Without guidance the null half has nothing to say here.
        x = hidden if scale != 1 else hidden[:batch]
        cache = head.new_cache(len(x))
        cache.window(1)
        state = head(x, cache=cache)
        cache.keep(1)
        first, fine = draw_code(head.first_output, place, state, batch, scale, pick, generators)
        cache.window(1)
        state = head(doubled(self.codes.first(first), len(x)), start=1, cache=cache)
        second, also = draw_code(head.second_output, place, state, batch, scale, pick, generators)
        return joined(first, second, self.config.vocab_sizes[1]), fine & also
