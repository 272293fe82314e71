"""Settings of what training runs measure on held-out images. Imports no torch."""

from dataclasses import dataclass

from ar_core.config import require_positive

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured every `train.eval_every` steps, on images that are not trained on.

    Raises:
        ConfigError: a value is out of range.
    """

    images: int = 512
    """How many, the first ones of the held-out split; fewer if there are fewer."""
    batch_size: int = 32
    """Images of a forward pass; memory only."""

    def __post_init__(self) -> None:
        require_positive(self, "images", "batch_size")
