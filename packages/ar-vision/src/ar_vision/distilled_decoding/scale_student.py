"""What students of VAR have in common, however they are fed.

Source: Distilled Decoding (arXiv 2412.17153) and its published code.
"""

from typing import Any

from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Generator, Tensor

from ..backbones.scale_transformer.model import ScaleTransformer
from .heads import ContinuousHead, NoiseData
from .student import StudentCondition

__all__ = ["ScaleStudent"]


class ScaleStudent(ScaleTransformer):
    """A next-scale transformer whose tokens are marked as noise or data; see `ar_vision.distilled_decoding.student.Student`.

    Attributes:
        noise_data: the marks.
        continuous_head: predicts code vectors.
    """

    noise_data: NoiseData
    continuous_head: ContinuousHead

    def initialize_own(self, std: float, generator: Generator) -> None:
        """Draw what a teacher does not have."""
        self.noise_data.initialize(std, generator)
        self.continuous_head.initialize(std, generator)

    def condition_of(self, labels: Tensor) -> StudentCondition:
        """Return the condition of classes int64 [B]."""
        vector = self.condition(labels)
        return StudentCondition(vector[:, None], vector)

    def marked_blocks(
        self, x: Tensor, marks: Tensor, condition: StudentCondition, mask: Mask, cache: WindowedKVCache | None
    ) -> Tensor:
        """Run the blocks, with marks at the input, inside blocks and before the heads.

        Args:
            x: tokens with positions, [B, m, C].
            marks: which of them are data, bool [B, m].
            condition: of the images.
            mask: of m queries.
            cache: with a window of m tokens.

        Returns:
            [B, m, C].
        """
        x = self.noise_data.at_input(x, marks)
        modulation = condition.vector if self.shared is None else self.shared(condition.vector)
        for layer, block in enumerate(self.blocks):
            x = block(x, modulation, cache=cache, mask=mask, between=self.noise_data.inside(layer, marks))
        return self.noise_data.at_heads(x, marks)

    def head_autocast(self, hidden: Tensor) -> Any:
        """Return the context in which the head is computed, for states [B, m, C]."""
        return self.head.autocast(hidden)

    def continuous(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return code vectors [B, m, Cv], float32 or better, of states [B, m, C]."""
        out: Tensor = self.continuous_head(hidden, condition.vector)
        return out
