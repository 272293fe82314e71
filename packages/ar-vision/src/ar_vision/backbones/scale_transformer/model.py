"""A class-conditional transformer that predicts the codes of a scale from the scales before it.

Letters: R rows, B images, C width, Cv code dimension, V codes, K scales, L_k tokens of scale k, L of all scales.

Source: VAR (arXiv 2404.02905), section 3.2; FlexVAR (arXiv 2502.20313), section 3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Generator, Tensor, nn

from ...scales import ScaleSchedule
from ..adaln import AdaHead, ConditionLinear, initialize_linear
from ..scale_cache import scale_cache
from ..scale_mask import scale_mask
from .block import ScaleBlock, drop_rate
from .config import ScaleTransformerConfig

__all__ = ["NO_DECAY", "BeforeBlock", "ScaleTransformer"]

BeforeBlock: TypeAlias = Callable[[int, Tensor, Tensor], Tensor]
"""From a block's number, its input [R, n, C] and the modulation of all blocks (the condition [R, C], or [R, 1, 6, C] where it is
shared) to the input in its place."""

NO_DECAY = ("start", "positions", "scale_embedding.weight", "log_scale", "offset")
"""Ends of the names of parameters that weight decay leaves alone in published training, beside vectors."""


class ScaleTransformer(nn.Module, ABC):
    """What VAR and FlexVAR share: a `ar_vision.decoding.scalewise.ScaleBackbone` with everything but positions.

    The class embedding is both the condition of all layer norms and, with ``start`` added, the token that begins the
    sequence. Tokens of scale k >= 1 are the features that the scales before it amount to, through one linear layer.

    Args:
        config: the shape.
    """

    config: ScaleTransformerConfig

    def __init__(self, config: ScaleTransformerConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Embedding(config.num_classes + 1, config.width)
        self.start = nn.Parameter(torch.zeros(1, 1, config.width))
        self.word_embed = nn.Linear(config.code_dim, config.width)
        self.shared = ConditionLinear(config.width, 6) if config.shared_adaln else None
        self.blocks = nn.ModuleList(ScaleBlock(config, layer) for layer in range(config.depth))
        self.head = AdaHead(config.width, config.vocab_size, config.head_precision)

    @abstractmethod
    def positions_of(self, scale: int, schedule: ScaleSchedule) -> Tensor:
        """Return what is added to the tokens of a scale, [1, L_k, C].

        Raises:
            ConfigError: the model knows no such schedule.
        """

    @abstractmethod
    def initialize_positions(self, std: float, generator: Generator) -> None:
        """Draw the parameters behind :meth:`positions_of`."""

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.start.device

    def condition(self, labels: Tensor) -> Tensor:
        """Return the condition [B, C] of labels, int64 [B] on the model's device, in 0 to ``num_classes``."""
        out: Tensor = self.class_embedding(labels)
        return out

    def null_condition(self, rows: int) -> Tensor:
        """Return the condition [R, C] of the null class."""
        return self.class_embedding.weight[-1].expand(rows, -1)

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache of all layers, in the dtype in which attention runs."""
        return scale_cache(self.config, self.word_embed.weight, rows, capacity)

    def embed(self, scale: int, features: Tensor | None, condition: Tensor, schedule: ScaleSchedule) -> Tensor:
        """Return the input of a scale.

        Args:
            scale: k.
            features: [R, Cv, h_k, w_k]; None at scale 0.
            condition: [R, C].
            schedule: K scales.

        Returns:
            [R, L_k, C].

        Raises:
            ConfigError: the model knows no such schedule.
        """
        positions = self.positions_of(scale, schedule)
        if features is None:
            return condition[:, None] + self.start + positions
        cells = features.to(self.word_embed.weight.dtype).flatten(2).transpose(1, 2)
        out: Tensor = self.word_embed(cells) + positions
        return out

    def hidden(
        self,
        x: Tensor,
        condition: Tensor,
        *,
        scale: int | None,
        schedule: ScaleSchedule,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: [R, n, C], of one scale or of all.
            condition: [R, C].
            scale: k, or None for all scales at once.
            schedule: K scales.
            cache: with a window of n tokens; holds the earlier scales.
            mask: who may see whom, in a pass without a cache.
            before_block: changes what a block is given; None: nothing is changed.

        Returns:
            [R, n, C].
        """
        modulation = condition if self.shared is None else self.shared(condition)
        for layer, block in enumerate(self.blocks):
            if before_block is not None:
                x = before_block(layer, x, modulation)
            x = block(x, modulation, cache=cache, mask=mask)
        return x

    def teacher_forced(self, condition: Tensor, inputs: Sequence[Tensor], schedule: ScaleSchedule) -> Tensor:
        """Run all scales in one pass under the scale-causal mask, as training does.

        Args:
            condition: [B, C].
            inputs: of `ar_vision.tokenizers.scale_history.teacher_inputs`: K-1 tensors [B, Cv, h_k, w_k].
            schedule: K scales.

        Returns:
            Hidden states [B, L, C], for the head; those of scale k predict its codes.
        """
        features: list[Tensor | None] = [None, *inputs]
        x = torch.cat([self.embed(k, fed, condition, schedule) for k, fed in enumerate(features)], dim=1)
        return self.hidden(x, condition, scale=None, schedule=schedule, mask=scale_mask(schedule, x.device))

    def set_drop_path(self, rate: float) -> None:
        """Change the rate of stochastic depth, which weights do not tell and training may want other than it was.

        Raises:
            ConfigError: it is out of range.
        """
        self.config = replace(self.config, drop_path=rate)
        for block in self.blocks:
            assert isinstance(block, ScaleBlock)
            block.drop_path.rate = drop_rate(self.config, block.layer)

    @torch.no_grad()
    def initialize(self, generator: Generator, *, gate: float = 1e-3) -> None:
        """Draw fresh weights as VAR's training does.

        Matrices and embeddings have std sqrt(1 / 3C); the head is 50 times smaller, so that the first loss is about ln V; what
        ends a residual branch is divided by sqrt(2d); gates start at ``gate`` times the usual, other modulations at half.

        Args:
            generator: of the device of the model.
            gate: factor of the gates (``alng``); published: 1e-3 for d16 and d20, 1e-4 for d24, 1e-5 for d30.
        """
        std = (1 / self.config.width / 3) ** 0.5
        initialize_linear(self, std, generator)
        nn.init.trunc_normal_(self.start, std=std, generator=generator)
        self.initialize_positions(std, generator)
        self.head.linear.weight.mul_(0.02)
        self.head.modulation.linear.weight.mul_(0.5)
        for block in self.blocks:
            assert isinstance(block, ScaleBlock)
            for last in (block.attention.proj, block.ffn.fc2):
                last.weight.div_((2 * self.config.depth) ** 0.5)
            modulation = block.modulation
            if isinstance(modulation, ConditionLinear):
                parts = modulation.linear.weight.unflatten(0, (6, -1))
            else:
                parts = modulation.offset.normal_(std=self.config.width**-0.5, generator=generator)[0, 0]
            parts[:2].mul_(gate)
            parts[2:].mul_(0.5)
