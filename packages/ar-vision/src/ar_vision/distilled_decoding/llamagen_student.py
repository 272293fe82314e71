"""The student of a LlamaGen (arXiv 2412.17153): all codes from their noise in one pass."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from torch import Generator, Tensor, nn

from ..backbones.llamagen.conditions import ClassCondition, TextCondition, pad_texts
from ..backbones.llamagen.model import LlamaGen
from ..backbones.llamagen.rotary import rotary_table
from ..decoding.raster_mask import raster_mask
from ..scales import ScaleSchedule
from .heads import ContinuousHead, NoiseData
from .student import StudentCondition
from .student_config import LlamaGenStudentConfig
from .units import Units

__all__ = ["LlamaGenStudent"]


class LlamaGenStudent(LlamaGen):
    """LlamaGen's transformer over [condition | X_t] under a causal mask, with one linear layer over vectors in the place of code embeddings.

    The state at a token predicts its own code, not the one behind it. Every token of the teacher depends on all before it, so that
    here, unlike in VAR's student, noise of all earlier tokens is visible. See `ar_vision.distilled_decoding.student.Student`.

    The continuous head of a model of texts is modulated by the mean of the projected features that are there: published code has
    no such model, and leaves this open.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "llamagen_dd"

    def __init__(self, config: LlamaGenStudentConfig) -> None:
        super().__init__(config)
        self.config: LlamaGenStudentConfig = config
        self.prefix = config.prefix
        self.schedule = ScaleSchedule.square(config.grid)
        self.units = Units([1] * config.codes)
        self.codes = nn.Linear(config.code_dim, config.dim)  # type: ignore[assignment]  # vectors take the place of codes
        self.noise_data = NoiseData(config.dim, config.layers, config.noise_data_embed)
        self.continuous_head = ContinuousHead(config.dim, config.code_dim)

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights as `LlamaGen.initialize` does, and those that students alone have."""
        super().initialize(generator)
        self.norm.weight.fill_(1.0)
        nn.init.zeros_(self.get_parameter("codes.bias"))
        self.noise_data.initialize(self.config.init_std, generator)
        self.continuous_head.initialize(self.config.init_std, generator)

    def condition_of(self, labels: Tensor) -> StudentCondition:
        """Return the condition of classes int64 [B]."""
        assert isinstance(self.condition, ClassCondition)
        tokens = self.condition(labels)
        return StudentCondition(tokens, tokens[:, 0])

    def condition_of_texts(self, features: Sequence[Tensor]) -> StudentCondition:
        """Return the condition of texts, from features [m, width] of each.

        Raises:
            DataError: features of another shape.
        """
        assert isinstance(self.condition, TextCondition)
        wide, valid = (one.to(self.device) for one in pad_texts(features, self.config))
        tokens = self.condition(wide)
        share = valid[..., None].type_as(tokens)
        return StudentCondition(tokens, (tokens * share).sum(1) / share.sum(1).clamp(min=1), valid)

    def hidden(  # type: ignore[override]  # a student is fed with noise, and is no LlamaGen to callers
        self,
        inputs: Tensor,
        clean: Tensor,
        condition: StudentCondition,
        *,
        known: int = 0,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Run the layers; see `Student.hidden`. The last norm is part of the head of the logits."""
        return self.marked_layers(inputs, clean, condition, known, cache)[:, max(self.prefix - known, 0) :]

    def marked_layers(
        self,
        vectors: Tensor,
        clean: Tensor,
        condition: StudentCondition,
        known: int,
        cache: WindowedKVCache | None,
    ) -> Tensor:
        """Run the layers over [condition | vectors], with marks at the input, inside layers and before the heads.

        Args:
            vectors: [B, m, Cv].
            clean: which of them are data, bool [B, m]; the condition is.
            condition: of the images.
            known: positions that the cache holds already.
            cache: with a window of P + m - known tokens.

        Returns:
            [B, P + m - known, C].
        """
        config, tokens = self.config, self.codes(vectors.to(self.output.weight.dtype))
        x = torch.cat([condition.tokens.to(tokens.dtype), tokens], dim=1)[:, known:]
        marks = torch.cat([clean.new_ones(len(clean), config.prefix), clean], dim=1)[:, known:]
        x = self.noise_data.at_input(x, marks)
        table = rotary_table(config.grid, config.head_dim, config.prefix, config.rope_base, x.device)
        table, mask = table[known : known + x.shape[1]], raster_mask(known, x.shape[1], condition.valid, x.device)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, mask, cache, index, self.noise_data.inside(index, marks))
        return self.noise_data.at_heads(x, marks)

    def logits(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return logits [B, m, V]."""
        return self.head(self.norm(hidden))

    def matrix_head(self, hidden: Tensor, condition: StudentCondition) -> tuple[Tensor, LinearHead]:
        """Return states and matrix of the logits; see :meth:`ar_vision.distilled_decoding.student.Student.matrix_head`."""
        return self.norm(hidden), self.loss_head

    def head_autocast(self, hidden: Tensor) -> Any:
        """Return a context that changes nothing, whatever the states [B, m, C]: the head runs as all else."""
        return nullcontext()

    def continuous(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return code vectors [B, m, Cv]."""
        out: Tensor = self.continuous_head(hidden, condition.vector)
        return out
