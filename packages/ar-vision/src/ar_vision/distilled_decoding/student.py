"""What training and sampling rely on in a student.

B images, P condition positions, n tokens, m of them in a pass, C width, Cv code dimension, V codes.

Source: Distilled Decoding (arXiv 2412.17153), section 3.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from torch import Tensor

from ..scales import ScaleSchedule
from .units import Units

__all__ = ["Student", "StudentCondition", "perturbed"]


@dataclass(frozen=True)
class StudentCondition:
    """The condition of B images.

    Attributes:
        tokens: what stands in front of the tokens, [B, P, C], positions not yet added.
        vector: of the modulations and of the continuous head, [B, C].
        valid: bool [B, P], which of the P positions hold something; None: all.
    """

    tokens: Tensor
    vector: Tensor
    valid: Tensor | None = None


class Student(Protocol):
    """A transformer over [condition | noise or code vectors], whose output at a token predicts the code of that same token."""

    kind: ClassVar[str]
    """Name that its checkpoints carry."""
    config: Any
    """Its shape, a frozen dataclass."""
    units: Units
    """What its teacher draws at once: scales, or single codes."""
    schedule: ScaleSchedule
    """Grids of its codes; one of them for codes in raster order."""
    prefix: int
    """P, positions of the condition."""

    @property
    def device(self) -> torch.device:
        """Where it is."""
        ...

    def condition_of(self, labels: Tensor) -> StudentCondition:
        """Return the condition of classes, int64 [B] on its device."""
        ...

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache for all layers."""
        ...

    def hidden(
        self,
        inputs: Tensor,
        clean: Tensor,
        condition: StudentCondition,
        *,
        known: int = 0,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Run the layers over all positions, or those that the cache does not hold.

        Args:
            inputs: noise, and code vectors where it is clean, [B, n, Cv].
            clean: bool [B, n].
            condition: of the images.
            known: positions that the cache holds already, those of the condition first: 0, or P or more.
            cache: with a window of P + n - known tokens.

        Returns:
            States [B, m, C] of the tokens among the positions that were run, for the heads.
        """
        ...

    def logits(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return logits [B, m, V] of states [B, m, C]."""
        ...

    def matrix_head(self, hidden: Tensor, condition: StudentCondition) -> tuple[Tensor, LinearHead]:
        """Return the same as states [B, m, C'] of states [B, m, C] and one matrix [V, C'], for losses that hold no [B, m, V]; to be used inside
        :meth:`head_autocast`.
        """
        ...

    def head_autocast(self, hidden: Tensor) -> Any:
        """Return the context in which the head of the logits is computed, for states [B, m, C]."""
        ...

    def continuous(self, hidden: Tensor, condition: StudentCondition) -> Tensor:
        """Return code vectors [B, m, Cv], float32 or better, of states [B, m, C]."""
        ...


def perturbed(data: Tensor, noise: Tensor, clean: Tensor) -> Tensor:
    """Return X_t: data where it is clean, else the noise, each bit by bit.

    Args:
        data: [B, n, Cv].
        noise: [B, n, Cv].
        clean: bool [B, n].

    Returns:
        [B, n, Cv].
    """
    return torch.where(clean[..., None], data, noise)
