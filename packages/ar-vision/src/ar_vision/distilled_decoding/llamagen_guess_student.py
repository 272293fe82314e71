"""A student of LlamaGen that is fed like its teacher, with first guesses in the place of codes (ours)."""

from typing import ClassVar

import torch
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from torch import Generator, Tensor

from .first_guess import FirstGuess, NoiseLogits
from .llamagen_student import LlamaGenStudent
from .student import StudentCondition
from .student_config import LlamaGenGuessStudentConfig

__all__ = ["LlamaGenGuessStudent"]


class LlamaGenGuessStudent(LlamaGenStudent):
    """LlamaGen's transformer over [condition | first guess of all codes but the last]; a token's own noise enters at its logits.

    As in the teacher, the state behind a token predicts the next one. One linear layer over vectors stands in the place of code
    embeddings. See `ar_vision.distilled_decoding.student.Student`.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "llamagen_dd_guess"

    def __init__(self, config: LlamaGenGuessStudentConfig) -> None:
        super().__init__(config)
        self.prefix = config.prefix - 1
        self.first_guess = FirstGuess(config.codes, config.dim, config.vocab_size, config.code_dim)
        self.noise_logits = NoiseLogits(config.vocab_size, config.code_dim)

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights, but for what the codebook gives."""
        super().initialize(generator)
        for parameter in (*self.first_guess.parameters(), *self.noise_logits.parameters()):
            parameter.zero_()

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
        guess = self.first_guess(condition.vector, inputs, clean)[:, :-1]
        states = self.marked_layers(guess, clean[:, :-1], condition, known, cache)[:, max(self.prefix - known, 0) :]
        columns = self.noise_logits.columns(inputs, clean)[:, inputs.shape[1] - states.shape[1] :]
        return torch.cat([states, columns.to(states.dtype)], dim=-1)

    def logits(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return logits [B, m, V]."""
        states, head = self.matrix_head(hidden, condition)
        return head(states)

    def matrix_head(self, hidden: Tensor, condition: StudentCondition) -> tuple[Tensor, LinearHead]:
        """Return states and matrix of the logits; see :meth:`ar_vision.distilled_decoding.student.Student.matrix_head`."""
        states, columns = self.noise_logits.apart(hidden)
        return self.noise_logits.joined(columns, self.norm(states), self.loss_head)

    def continuous(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return code vectors [B, m, Cv]."""
        return super().continuous(self.noise_logits.apart(hidden)[0], condition)
