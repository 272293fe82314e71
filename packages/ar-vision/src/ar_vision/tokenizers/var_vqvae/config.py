"""Settings of VAR's tokenizer. Imports no torch."""

from dataclasses import dataclass, field

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ..autoencoder_config import AutoencoderConfig

__all__ = ["VarTokenizerConfig"]


@dataclass(frozen=True)
class VarTokenizerConfig:
    """Shape of the multi-scale residual VQ-VAE; the defaults are those of the published weights (ch160, v4096, z32).

    Raises:
        ConfigError: A value is out of range.
    """

    autoencoder: AutoencoderConfig = field(default_factory=lambda: AutoencoderConfig(channels=160, latent_channels=32))
    """Encoder and decoder; their latent channels are the code dimension Cv."""
    vocab_size: int = 4096
    """V, codes that all scales share."""
    num_phis: int = 4
    """K_phi, convolutions phi that refine an upsampled scale; scale k uses the one nearest to k/(K-1)."""
    phi_per_scale: bool = False
    """Every scale has a phi of its own: schedules must then have ``num_phis`` scales."""
    phi_ratio: float = 0.5
    """How much of phi(u) is convolved: phi(u) = (1 - ratio) u + ratio conv(u)."""
    cosine: bool = False
    """Codes are the nearest by cosine (``znorm``) instead of by distance; looked-up rows stay raw in both cases."""
    quant_kernel: int = 3
    """Side of the convolutions before and behind the quantiser."""

    def __post_init__(self) -> None:
        require_positive(self, "vocab_size", "num_phis")
        if not 0 <= self.phi_ratio <= 1:
            raise ConfigError(f"phi_ratio is {self.phi_ratio}; it must lie between 0 and 1")
        if self.quant_kernel < 1 or self.quant_kernel % 2 == 0:
            raise ConfigError(f"quant_kernel is {self.quant_kernel}; it must be odd and positive")
