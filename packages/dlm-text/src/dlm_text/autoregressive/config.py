"""Hyperparameters of plain causal language modelling."""

from dataclasses import dataclass, field

from ar_core.config import FREE, require_positive

__all__ = ["AutoregressiveConfig"]


@dataclass(frozen=True)
class AutoregressiveConfig:
    """How packed rows are read; model, data and optimiser have their own sections.

    Raises:
        ConfigError: a value is out of range.
    """

    document_mask: bool = True
    """Keep the documents of a packed row from seeing each other; the first token of a document is then no target."""

    document_positions: bool = True
    """Count positions from the start of each document rather than of the row."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        require_positive(self, "max_logits")
