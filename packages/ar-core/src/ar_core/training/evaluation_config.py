"""Settings of held-out measurements that every method shares. Imports no torch."""

from dataclasses import dataclass

from ..config import require_positive

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on held-out rows, every `train.eval_every` steps.

    Raises:
        ConfigError: a value is out of range.
    """

    rows: int = 64
    """Held-out rows, the first of the split; fewer if there are fewer."""

    batch_size: int = 8
    """Rows of a forward pass; memory only."""

    def __post_init__(self) -> None:
        require_positive(self, "rows", "batch_size")
