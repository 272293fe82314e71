"""Shapes of the baselines. Imports no torch."""

import math
from dataclasses import dataclass, field

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ..config import EncoderConfig

__all__ = ["CarConfig", "FullConfig", "LoraConfig"]


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """LoRA (arXiv 2106.09685) on the matrices of attention and feed-forward layers of all blocks, and the control added to the base's input
    tokens.

    Raises:
        ConfigError: a value is out of range.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """From control maps to what is added."""
    rank: int = 16
    """r."""
    alpha: float = 16.0
    """Updates are scaled by alpha / r."""

    def __post_init__(self) -> None:
        require_positive(self, "rank")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"alpha is {self.alpha}; it must be a positive number")


@dataclass(frozen=True, kw_only=True)
class FullConfig:
    """Full fine-tuning: a copy of the base, all of it trained, and the control added to its input tokens."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """From control maps to what is added."""


@dataclass(frozen=True, kw_only=True)
class CarConfig:
    """CAR (arXiv 2410.04671): copies of half of the base's blocks, whose outputs enter the other half.

    Raises:
        ConfigError: a value is out of range.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Of the convolutions over the control map; all but the first halve the side."""

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ConfigError(f"channels is {list(self.channels)}; give at least one positive number")
