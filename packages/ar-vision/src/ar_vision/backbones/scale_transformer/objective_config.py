"""Hyperparameters that VAR's and FlexVAR's training share. Imports no torch."""

from dataclasses import dataclass, field

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["ScaleObjectiveConfig"]


@dataclass(frozen=True, kw_only=True)
class ScaleObjectiveConfig:
    """How codes become a loss; model, data and optimiser have their own sections.

    Raises:
        ConfigError: a value is out of range.
    """

    label_dropout: float = 0.1
    """Probability that a training sample has no class, which guidance needs. Held-out samples always have theirs; published
    code drops labels there too, so that its validation loss is a tenth unconditional."""

    accuracy: bool = False
    """Report the share of right codes of each scale while training, at the price of one more pass of the head; on held-out
    samples it is always reported."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_dropout <= 1:
            raise ConfigError(f"label_dropout is {self.label_dropout}; it must lie in [0, 1]")
        require_positive(self, "max_logits")
