"""Hyperparameters of autoregressive training on images and text. Imports no torch."""

from dataclasses import dataclass, field

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["AutoregressiveVLConfig"]


@dataclass(frozen=True)
class AutoregressiveVLConfig:
    """Next-token training: stage 1 of route 2 (the connector alone, `model.trained: [connector]`), and the AR control arm.

    Raises:
        ConfigError: a value is out of range.
    """

    supervise_template_tokens: bool = False
    """As of DiffusionVL. Published stage 1: True."""
    mrope: bool = False
    """Give image tokens the three-part positions of Qwen-VL, as their AR bases were trained with."""
    tower_lr: float | None = None
    """Peak learning rate of the tower; null takes `train.lr`."""
    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        require_positive(self, "max_logits")
        if self.tower_lr is not None and not self.tower_lr > 0:
            raise ConfigError(f"tower_lr is {self.tower_lr}; it must be positive, or null")
