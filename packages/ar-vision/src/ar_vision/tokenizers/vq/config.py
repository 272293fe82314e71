"""Settings of the tokenizers of LlamaGen and FlexVAR. Imports no torch."""

from dataclasses import dataclass, field

from ar_core.config import require_positive

from ..autoencoder_config import AutoencoderConfig

__all__ = ["PRESETS", "VqTokenizerConfig"]


@dataclass(frozen=True)
class VqTokenizerConfig:
    """Shape of a VQ autoencoder whose scales are quantised independently; the defaults are LlamaGen's VQ-16.

    Raises:
        ConfigError: A value is out of range.
    """

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Encoder and decoder."""
    vocab_size: int = 16384
    """V."""
    code_dim: int = 8
    """Cv, to which a 1×1 convolution brings the latent channels."""
    normalized: bool = True
    """Features and codes are compared and used at unit length."""

    def __post_init__(self) -> None:
        require_positive(self, "vocab_size", "code_dim")


PRESETS: dict[str, VqTokenizerConfig] = {
    "llamagen_vq16": VqTokenizerConfig(),
    "llamagen_vq8": VqTokenizerConfig(autoencoder=AutoencoderConfig(channel_multipliers=(1, 2, 2, 4))),
    "flexvar": VqTokenizerConfig(vocab_size=8912, code_dim=32),
}
"""Published sizes by name."""
