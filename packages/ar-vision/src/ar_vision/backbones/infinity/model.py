"""The transformer that predicts the bits of scale after scale."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, cast

import torch
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...scales import ScaleSchedule
from ...text.text import Text
from ..adaln import AdaHead, ConditionLinear, initialize_linear
from ..scale_cache import scale_cache
from ..scale_mask import scale_mask
from .block import InfinityBlock
from .config import LEVELS, InfinityConfig
from .rope import angles, rotate
from .schedules import position_grid
from .text import TextCondition, TextProjection, text_mask

__all__ = ["AfterLayer", "Infinity", "draw_null_text"]

AfterLayer = Callable[[int, Tensor], Tensor]
"""From the number of a layer, counted from the last one as -1, and its output [R, n, C] to what the next layer gets."""


class Infinity(nn.Module):
    """Bits of all tokens of a scale in one pass, from the image so far and a text (arXiv 2412.04431, section 3).

    The classifier has no table of 2^d_v codes: it is d_v two-way softmaxes, bit j on the outputs 2 j (for 0) and 2 j + 1.

    Letters: R rows, C width, L_k tokens of scale k, d_v bits of a token, M tokens of a text, Ct its width.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "infinity"

    def __init__(self, config: InfinityConfig) -> None:
        super().__init__()
        self.config = config
        self.null_text = nn.Parameter(torch.zeros(config.text_length, config.text_width))
        self.text = TextProjection(config)
        self.start = nn.Parameter(torch.zeros(1, 1, config.width))
        self.levels = nn.Embedding(LEVELS, config.width)
        self.word = nn.Linear(config.bits, config.width)
        self.shared = ConditionLinear(config.width, 6)
        self.blocks = nn.ModuleList(InfinityBlock(config, layer) for layer in range(config.depth))
        self.output = AdaHead(config.width, 2 * config.bits)

    @property
    def _layers(self) -> list[InfinityBlock]:
        return cast(list[InfinityBlock], list(self.blocks))

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw all weights afresh as the published code does: narrow normals, branches smaller with depth, gates near the shared ones."""
        std, branches = math.sqrt(1 / (3 * self.config.width)), math.sqrt(2 * self.config.depth)
        initialize_linear(self, std, generator)
        draw_null_text(self.null_text)
        for drawn in (self.text.query, self.start):
            nn.init.trunc_normal_(drawn, std=std, generator=generator)
        for block in self._layers:
            for last in (block.attention.proj, block.cross.proj, block.feed_forward.fc2):
                last.weight.div_(branches)
            offset = block.modulation.offset.normal_(std=1 / math.sqrt(self.config.width), generator=generator)
            offset[:, :, :2].mul_(5e-6)
            offset[:, :, 2:].mul_(1e-3)
        self.output.linear.weight.mul_(0.02)
        self.output.modulation.linear.weight.mul_(1e-3)

    def condition(self, text: Text) -> TextCondition:
        """Return what the transformer sees of R texts.

        Raises:
            DataError: they are too long, or of another width than the model's.
        """
        text.check(self.config.texts)
        out: TextCondition = self.text(text)
        return out

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache for all layers, in the dtype in which attention runs."""
        return scale_cache(self.config, self.word.weight, rows, capacity)

    def memory(self, condition: TextCondition) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of the text for every layer, [R, H, M, D] each: what ``WindowedKVCache.remember`` takes."""
        return [block.cross.keys_values(condition.memory) for block in self._layers]

    def embed(self, scale: int, features: Tensor | None, condition: Tensor, schedule: ScaleSchedule) -> Tensor:
        """Return the input [R, L_k, C] of scale k.

        Args:
            scale: k.
            features: the image so far on the grid of scale k, [R, d_v, h_k, w_k]; None at scale 0, which has the start token.
            condition: pooled text, [R, C].
            schedule: K scales.
        """
        if features is None:
            tokens = condition[:, None] + self.start
        else:
            tokens = self.word(features.flatten(2).transpose(1, 2).to(self.word.weight.dtype))
        return tokens + self.levels.weight[scale]

    def embed_all(self, inputs: Sequence[Tensor], condition: Tensor, schedule: ScaleSchedule) -> Tensor:
        """Return the input [R, L, C] of all scales.

        Args:
            inputs: the image so far on the grid of scales 1 to K-1, [R, d_v, h_k, w_k] each.
            condition: pooled text, [R, C].
            schedule: K scales.
        """
        fed: list[Tensor | None] = [None, *inputs]
        return torch.cat([self.embed(k, features, condition, schedule) for k, features in enumerate(fed)], dim=1)

    def hidden(
        self,
        x: Tensor,
        condition: TextCondition,
        *,
        scale: int | None,
        schedule: ScaleSchedule,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
        after_layer: AfterLayer | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Run the layers over one scale on a cache, or over all scales under a mask.

        Args:
            x: [R, n, C].
            condition: of these R rows; a cache that remembers the text's keys and values is read in place of its memory.
            scale: k, which decides the rotary positions; None: all scales, or as many of the first ones as x has.
            schedule: K scales.
            cache: of the scales before.
            mask: who may see whom; needed without a cache.
            after_layer: changes the output of layers, for guidance inside the transformer.
            recompute: keep no activations inside blocks and compute them again in the backward pass.

        Returns:
            [R, n, C].

        Raises:
            ConfigError: the model was not trained on such a schedule.
        """
        grid = position_grid(schedule, self.config.schedules)
        cos, sin = angles(schedule, grid, self.config.width // self.config.heads, scale)
        cos, sin = cos[: x.shape[1]], sin[: x.shape[1]]
        turn = partial(rotate, cos=cos.to(x.device), sin=sin.to(x.device))
        shared = self.shared(condition.pooled)
        over_text = text_mask(condition.valid, x.shape[1])
        for block in self._layers:
            remembered = cache is not None and cache.memory
            run = partial(checkpoint, block, use_reentrant=False, preserve_rng_state=False) if recompute else block
            x = run(
                x,
                shared,
                keys_values=remembered[block.layer] if remembered else block.cross.keys_values(condition.memory),
                text_mask=over_text,
                rotate=turn,
                cache=cache,
                mask=mask,
            )
            if after_layer is not None:
                x = after_layer(block.layer - self.config.depth, x)
        return x

    def head(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Return logits [R, n, 2 d_v], float32, of hidden states [R, n, C] and a condition, the pooled text, [R, C]."""
        out: Tensor = self.output(hidden, condition)
        return out

    def forward(
        self, inputs: Sequence[Tensor], text: Text, schedule: ScaleSchedule, *, recompute: bool = False
    ) -> Tensor:
        """Return the logits of all scales at once, [R, L, 2 d_v].

        Args:
            inputs: what scales 1 to K-1 are fed with, [R, d_v, h_k, w_k] each.
            text: R texts.
            schedule: K scales.
            recompute: as in :meth:`hidden`.
        """
        condition = self.condition(text)
        x = self.embed_all(inputs, condition.pooled, schedule)
        mask = scale_mask(schedule, x.device)
        hidden = self.hidden(x, condition, scale=None, schedule=schedule, mask=mask, recompute=recompute)
        return self.head(hidden, condition.pooled)


def draw_null_text(table: Tensor) -> None:
    """Draw the unconditional text [T, Ct] as published: the same for every model, from a generator of its own."""
    drawn = torch.empty(table.shape)
    nn.init.trunc_normal_(drawn, std=1.2, generator=Generator().manual_seed(0))
    with torch.no_grad():
        table.copy_(drawn / math.sqrt(table.shape[1]))
