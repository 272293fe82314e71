"""Settings of GloTok's teachers. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["GlotokTeacherConfig", "PatchFeaturesConfig"]


@dataclass(frozen=True)
class PatchFeaturesConfig:
    """A frozen network and the layer whose features are taken.

    Raises:
        ConfigError: Settings do not go together.
    """

    kind: Literal["dinov2", "clip", "resnet20-cifar10", "lpips-alexnet", "pixels"]
    """``dinov2`` and ``clip``: a vision transformer in Hugging Face layout (extra ``text``). ``resnet20-cifar10``: 32 x 32 pixels.
    ``lpips-alexnet``: the AlexNet of LPIPS. ``pixels``: patches of 4 x 4 pixels as they are, no network at all."""
    source: str | None = None
    """Of vision transformers a folder or a name on the hub, such as ``facebook/dinov2-base``; of the others the file of their weights.
    ``~`` and ``$NAME`` are expanded. Kind ``pixels`` has none."""
    layer: int | None = None
    """Of vision transformers, a hidden state: 0 is the embedding, -2 (null) the output of the last block but one. Of AlexNet, one of its
    five ReLUs, -1 (null) the last. The paper says intermediate features and gives no layer."""

    def __post_init__(self) -> None:
        if (self.source is None) != (self.kind == "pixels"):
            needed = "give the weights" if self.source is None else "leave it out"
            raise ConfigError(f"features.source is {self.source!r} for the kind {self.kind}: {needed}")
        if self.layer is not None and self.kind in ("resnet20-cifar10", "pixels"):
            raise ConfigError(
                f"features.layer is {self.layer} and the kind {self.kind} has one layer to take: leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class GlotokTeacherConfig:
    """From features to cluster centres, class by class, as VQGAN-LC makes its codebook (arXiv 2406.11837).

    Raises:
        ConfigError: A value is out of range.
    """

    features: PatchFeaturesConfig
    """Whose."""
    pool: int = 4
    """Feature maps are averaged to pool x pool vectors a picture."""
    clusters: int = 16
    """Centres of a class; VQGAN-LC: 100. The paper gives no number."""
    groups: int | None = None
    """Pictures are dealt out in turn to so many groups in the place of classes; null takes the classes."""
    pictures_per_group: int | None = None
    """Take only the first pictures of every group; null takes all."""
    iterations: int = 25
    """Most rounds of k-means; it ends when nothing moves."""
    seed: int = 0
    """Of the first centres."""
    batch_size: int = field(default=64, metadata=FREE)
    """Pictures of a forward pass; memory and speed only."""

    def __post_init__(self) -> None:
        require_positive(self, "pool", "clusters", "groups", "pictures_per_group", "iterations", "batch_size")
