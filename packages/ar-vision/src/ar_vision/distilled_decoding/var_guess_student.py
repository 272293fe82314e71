"""A student of VAR that is fed like its teacher, with first guesses in the place of codes (ours)."""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from torch import Generator, Tensor, nn

from ..backbones.scale_mask import scale_mask
from ..backbones.var.model import Var
from ..tokenizers.var_vqvae.phi import Phi, refine
from .first_guess import FirstGuess, NoiseLogits
from .heads import ContinuousHead, NoiseData
from .scale_student import ScaleStudent
from .student import StudentCondition
from .student_config import VarGuessStudentConfig
from .units import Units

__all__ = ["VarGuessStudent"]


class VarGuessStudent(ScaleStudent, Var):
    """VAR itself, over the features that first guesses of all coarser scales add up to; a token's own noise enters at its logits.

    With code vectors in the place of all noise, and marks of zero, its layers begin as the teacher's. The published student takes every token's own
    noise at its input instead, and has to learn where noise flows to before the layers that it begins with are of any use.
    See `ar_vision.distilled_decoding.student.Student`.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "var_dd_guess"
    prefix = 0

    def __init__(self, config: VarGuessStudentConfig) -> None:
        super().__init__(config)
        self.config: VarGuessStudentConfig = config
        self.units = Units(self.schedule.lengths)
        self.phis = nn.ModuleList(Phi(config.code_dim, config.phi_ratio) for _ in range(config.num_phis))
        self.first_guess = FirstGuess(self.schedule.total, config.width, config.vocab_size, config.code_dim)
        self.noise_logits = NoiseLogits(config.vocab_size, config.code_dim)
        self.noise_data = NoiseData(config.width, config.depth, config.noise_data_embed)
        self.continuous_head = ContinuousHead(config.width, config.code_dim)

    def initialize_positions(self, std: float, generator: Generator) -> None:
        """Draw positions, and what students alone have but for what the codebook gives."""
        super().initialize_positions(std, generator)
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
        """Run the blocks; see `Student.hidden`. Tokens of a scale are marked as data where the scales before them are."""
        guess = self.first_guess(condition.vector, inputs, clean)
        fed: list[Tensor | None] = [None, *self._features(guess)]
        x = torch.cat([self.embed(k, one, condition.vector, self.schedule) for k, one in enumerate(fed)], dim=1)
        marks = torch.cat([self._marks(k, clean) for k in range(self.units.count)], dim=1)[:, known:]
        mask = scale_mask(self.schedule, x.device, known)
        states = self.marked_blocks(x[:, known:], marks, condition, mask, cache)
        return torch.cat([states, self.noise_logits.columns(inputs, clean)[:, known:].to(states.dtype)], dim=-1)

    def logits(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return logits [B, m, V]."""
        with self.head_autocast(hidden):
            states, head = self.matrix_head(hidden, condition)
            return head(states)

    def matrix_head(self, hidden: Tensor, condition: StudentCondition) -> tuple[Tensor, LinearHead]:
        """Return states and matrix of the logits; see :meth:`ar_vision.distilled_decoding.student.Student.matrix_head`."""
        states, columns = self.noise_logits.apart(hidden)
        return self.noise_logits.joined(columns, *self.head.as_matrix(states, condition.vector))

    def continuous(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return code vectors [B, m, Cv]."""
        return super().continuous(self.noise_logits.apart(hidden)[0], condition)

    def _features(self, vectors: Tensor) -> Iterator[Tensor]:
        """What scales 1 to K - 1 are fed with, [B, Cv, h_k, w_k], as VAR's tokenizer makes it of code vectors [B, n, Cv]."""
        features = vectors.new_zeros(())
        for scale, following in enumerate(self.schedule.sizes[1:]):
            part = vectors[:, self.units.part(scale)].transpose(1, 2).unflatten(2, self.schedule.sizes[scale])
            features = features + refine(self.phis, part, scale, self.schedule)
            yield F.interpolate(features, size=following, mode="area")

    def _marks(self, scale: int, clean: Tensor) -> Tensor:
        """Whether all that a scale is fed with is data: [B, L_k]."""
        before = clean[:, : self.units.tokens(scale)].all(1, keepdim=True)
        return before.expand(-1, self.units.lengths[scale])
