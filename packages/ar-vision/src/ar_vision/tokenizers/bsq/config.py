"""Shape of a bitwise tokenizer, and the published ones. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ar_core.errors import ConfigError

from ..autoencoder_config import AutoencoderConfig

__all__ = ["PRESETS", "BsqTokenizerConfig", "InputResize"]

InputResize: TypeAlias = Literal["bilinear", "area"]
"""How the sum of codes so far becomes the input of a scale: ``bilinear`` (the published trilinear with one frame), as Infinity trains and
decodes; ``area``, as the published decoder of NSARM does."""


def _published(bits: int, multipliers: tuple[int, ...] = (1, 2, 4, 4, 4)) -> AutoencoderConfig:
    return AutoencoderConfig(channel_multipliers=multipliers, attention=False, latent_channels=bits)


@dataclass(frozen=True)
class BsqTokenizerConfig:
    """Encoder, decoder and quantiser; the defaults are those of the published d = 32.

    Raises:
        ConfigError: a value is out of range.
    """

    autoencoder: AutoencoderConfig = field(default_factory=lambda: _published(32))
    """Encoder and decoder; their latent channels are d, the bits of a latent cell."""
    patchify: bool = False
    """p: a token is a square of 2x2 latent cells (the 8B tokenizer and NSARM); false: one cell."""
    sharpness: float = 4.0
    """Training only: a bit is 1 with probability sigmoid(sharpness · sqrt(d) · u) in the entropy penalty, u its coordinate on the
    unit sphere. The BSQ paper's inverse temperature is sharpness · d / 2."""
    diversity: float = 1.0
    """Training only: weight of the entropy of a bit's mean against the mean of its entropies (gamma of the BSQ paper)."""

    def __post_init__(self) -> None:
        for name in ("sharpness", "diversity"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ConfigError(f"{name} is {value}; it must be a number of at least 0")

    @property
    def side(self) -> int:
        """s: latent cells along each side of a token: 1, or 2 with ``patchify``."""
        return 2 if self.patchify else 1

    @property
    def bits(self) -> int:
        """d_v, bits of a token: d, or 4 d."""
        return self.autoencoder.latent_channels * self.side**2


PRESETS = {
    "d16": BsqTokenizerConfig(_published(16)),
    "d24": BsqTokenizerConfig(_published(24)),
    "d32": BsqTokenizerConfig(_published(32)),
    "d64": BsqTokenizerConfig(_published(64)),
    "d14_patchify": BsqTokenizerConfig(_published(14, (1, 2, 4, 4)), patchify=True),
}
"""Published tokenizers; "d32" is the layout of both ``infinity_vae_d32`` and ``infinity_vae_d32_reg``, which are different weights."""
