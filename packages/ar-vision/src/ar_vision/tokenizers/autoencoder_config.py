"""The shape of a convolutional autoencoder. Imports no torch."""

from dataclasses import dataclass

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["AutoencoderConfig"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """Shape of an encoder and its decoder.

    Raises:
        ConfigError: A count is below 1, or the groups of the normalisation do not divide a width.
    """

    channels: int = 128
    """Width of the finest level."""
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    """Width of every level in units of ``channels``; each level but the last halves the resolution."""
    blocks_per_level: int = 2
    """Residual blocks of a level in the encoder; the decoder has one more."""
    attention: bool = True
    """Self-attention behind every block of the coarsest level and between the two blocks in the middle."""
    latent_channels: int = 256
    """Cz."""
    norm_groups: int = 32
    """Groups of every GroupNorm; all published weights have 32."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channel_multipliers", tuple(self.channel_multipliers))
        require_positive(self, "channels", "blocks_per_level", "latent_channels", "norm_groups")
        if not self.channel_multipliers or min(self.channel_multipliers) < 1:
            raise ConfigError(
                f"channel_multipliers are {list(self.channel_multipliers)}; they must be positive, one for every level"
            )
        for width in self.widths:
            if width % self.norm_groups:
                raise ConfigError(
                    f"norm_groups {self.norm_groups} do not divide the width {width} of a level; "
                    "choose norm_groups or channels so that they do"
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """C of every level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def downsampling(self) -> int:
        """Pixels per latent cell, in each direction."""
        return int(2 ** (len(self.channel_multipliers) - 1))
