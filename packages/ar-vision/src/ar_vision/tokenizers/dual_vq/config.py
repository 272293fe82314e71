"""Settings of tokenizers with two codebooks. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ..autoencoder_config import AutoencoderConfig

__all__ = ["PRESETS", "AdapterConfig", "DualVqTokenizerConfig", "ResidualConfig"]


@dataclass(frozen=True)
class AdapterConfig:
    """The transformer that splits a branch off the encoder; the defaults are FQGAN's, as the paper gives no shape.

    Raises:
        ConfigError: A count is below 1.
    """

    layers: int = 6
    """Blocks; their width is that of the encoder's coarsest level."""
    heads: int = 8
    """Heads of a block."""

    def __post_init__(self) -> None:
        require_positive(self, "layers", "heads")


@dataclass(frozen=True)
class ResidualConfig:
    """The transformer that predicts what quantisation lost. The paper says one layer; all else is ours.

    Raises:
        ConfigError: A count is below 1, or heads do not divide the width.
    """

    layers: int = 1
    """Blocks."""
    width: int = 256
    """Their width."""
    heads: int = 8
    """Heads of a block."""
    stop_gradient: bool = True
    """The module's input is a constant to it, so that its losses train the module alone; false lets them move what is quantised."""

    def __post_init__(self) -> None:
        require_positive(self, "layers", "width", "heads")
        if self.width % self.heads:
            raise ConfigError(
                f"width is {self.width} with {self.heads} heads, which do not divide it: change one of them"
            )


@dataclass(frozen=True)
class DualVqTokenizerConfig:
    """Shape of an autoencoder with two codebooks; the defaults are GloTok's with 16384 codes in all.

    Raises:
        ConfigError: A value is out of range.
    """

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Encoder and decoder."""
    grid: int = 16
    """g: an image is g x g codes, for which positions are learned."""
    visual_codes: int = 12288
    """n_vis."""
    semantic_codes: int = 4096
    """n_sem."""
    code_dim: int = 8
    """d of each codebook."""
    normalized: bool = True
    """Features and codes are used at unit length, and the nearest code is that of the largest cosine."""
    metric: Literal["euclidean", "cosine"] = "cosine"
    """Of the nearest code where ``normalized`` is false; at unit length both are one."""
    order: tuple[Literal["visual", "semantic"], ...] = ("visual", "semantic")
    """Order of the channels that the decoder is given. FQGAN: visual first."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """Of both branches."""
    residual: ResidualConfig | None = field(default_factory=ResidualConfig)
    """The modules that add to quantised features what quantisation lost; null leaves them out, which is FQGAN-dual."""

    def __post_init__(self) -> None:
        require_positive(self, "grid", "visual_codes", "semantic_codes", "code_dim")
        if sorted(self.order) != ["semantic", "visual"]:
            raise ConfigError(f"order is {list(self.order)} and must hold visual and semantic once each")
        if self.metric not in ("euclidean", "cosine"):
            raise ConfigError(f"metric is {self.metric!r} and must be euclidean or cosine")
        if self.normalized and self.metric != "cosine":
            raise ConfigError(f"metric is {self.metric!r} and normalized is true, where it has no effect: leave it out")
        if self.autoencoder.widths[-1] % self.adapter.heads:
            raise ConfigError(
                f"adapter.heads is {self.adapter.heads}, which does not divide the {self.autoencoder.widths[-1]} channels of the "
                "encoder's coarsest level: change one of them"
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Codes of each codebook, in the order of the channels."""
        return {name: self.visual_codes if name == "visual" else self.semantic_codes for name in self.order}


PRESETS: dict[str, DualVqTokenizerConfig] = {
    "glotok": DualVqTokenizerConfig(),
    "glotok_2x": DualVqTokenizerConfig(visual_codes=16384, semantic_codes=16384),
    "fqgan_dual": DualVqTokenizerConfig(visual_codes=16384, semantic_codes=16384, residual=None),
}
"""Published sizes by name."""
