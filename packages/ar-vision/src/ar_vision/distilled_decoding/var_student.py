"""The student of a VAR (arXiv 2412.17153): all scales from their noise in one pass."""

from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from ar_core.masks import Mask, Tokens, scale_strict_plus_self
from torch import Generator, Tensor, nn

from ..scales import ScaleSchedule
from .heads import ContinuousHead, NoiseData
from .scale_student import ScaleStudent
from .student import StudentCondition
from .student_config import VarStudentConfig
from .units import Units

__all__ = ["VarStudent", "student_mask"]


@lru_cache(maxsize=64)
def student_mask(schedule: ScaleSchedule, known: int, device: torch.device) -> Mask:
    """Return who sees whom: a token sees the class, the tokens of strictly coarser scales, and itself.

    Never the other tokens of its own scale: their noise says nothing about its code, which the teacher draws on its own given the
    coarser scales. Class and two scales of 1 and 4 tokens::

        class  # . . . . .
        1x1    # # . . . .
        2x2    # # # . . .
               # # . # . .
               # # . . # .
               # # . . . #

    Args:
        schedule: K scales.
        known: positions, the class first, that are keys alone.
        device: of the pass.
    """
    scales = F.pad(1 + schedule.scale_ids(device), (1, 0))
    tokens = Tokens(scale=scales, position=torch.arange(len(scales), device=device))
    return Mask(scale_strict_plus_self(), tokens.slice(known, len(scales)), tokens)


class VarStudent(ScaleStudent):
    """VAR's transformer over [class | X_t]: the class is a scale of its own, before the others.

    Tokens are noise or code vectors of their own scale, with nothing of other scales added to them. The state at a token predicts
    its own code. See `ar_vision.distilled_decoding.student.Student`.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "var_dd"
    prefix = 1

    def __init__(self, config: VarStudentConfig) -> None:
        super().__init__(config)
        self.config: VarStudentConfig = config
        self.schedule = ScaleSchedule.square(*config.scales)
        self.units = Units(self.schedule.lengths)
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.schedule.total, config.width))
        self.scale_embedding = nn.Embedding(1 + self.schedule.count, config.width)
        self.noise_data = NoiseData(config.width, config.depth, config.noise_data_embed)
        self.continuous_head = ContinuousHead(config.width, config.code_dim)

    def positions_of(self, scale: int, schedule: ScaleSchedule) -> Tensor:
        """Return positions and scale embedding of a scale's tokens, [1, L_k, C]."""
        part = self.units.part(scale)
        return self.positions[:, 1 + part.start : 1 + part.stop] + self.scale_embedding.weight[1 + scale]

    def initialize_positions(self, std: float, generator: Generator) -> None:
        """Draw positions, and what students alone have."""
        nn.init.trunc_normal_(self.positions, std=std, generator=generator)
        self.initialize_own(std, generator)

    def hidden(  # type: ignore[override]  # a student is fed with noise, and is no VAR to callers
        self,
        inputs: Tensor,
        clean: Tensor,
        condition: StudentCondition,
        *,
        known: int = 0,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Run the blocks; see `Student.hidden`."""
        scales = F.pad(1 + self.schedule.scale_ids(inputs.device), (1, 0))
        tokens = self.word_embed(inputs.to(self.word_embed.weight.dtype))
        x = torch.cat([(condition.tokens + self.start).to(tokens.dtype), tokens], dim=1)
        x = (x + self.positions + self.scale_embedding(scales))[:, known:]
        marks = torch.cat([clean.new_ones(len(clean), 1), clean], dim=1)[:, known:]
        x = self.marked_blocks(x, marks, condition, student_mask(self.schedule, known, x.device), cache)
        return x[:, max(self.prefix - known, 0) :]

    def logits(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return logits [B, m, V]."""
        out: Tensor = self.head(hidden, condition.vector)
        return out

    def matrix_head(self, hidden: Tensor, condition: StudentCondition) -> tuple[Tensor, LinearHead]:
        """Return states and matrix of the logits; see :meth:`ar_vision.distilled_decoding.student.Student.matrix_head`."""
        return self.head.as_matrix(hidden, condition.vector)
