"""What a feature extractor gives, and the names under which numbers made with it are reported."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["FeatureExtractor", "Features", "reported"]

KNOWN_AS = {
    "frechet": "fid",
    "spatial_frechet": "sfid",
    "class_score": "inception_score",
    "reconstruction_frechet": "rfid",
}


@dataclass(frozen=True)
class Features:
    """Features of B images.

    Attributes:
        pooled: float32 [B, D], without places.
        spatial: float32 [B, S], some channels at every place, flattened.
        probabilities: float32 [B, Q], of the classes that the network tells apart.
    """

    pooled: Tensor
    spatial: Tensor
    probabilities: Tensor


class FeatureExtractor(Protocol):
    """A frozen classifier of images.

    Attributes:
        name: network and training data; travels with every number that is measured with it.
        canonical: these are the very weights that FID, sFID and the Inception Score are defined by.
        dim: D.
        spatial_dim: S.
        classes: Q where class q is label q of the data it was trained on; None where its outputs are numbered otherwise.
        digest: SHA-256 of the file of its weights.
    """

    name: str
    canonical: bool
    dim: int
    spatial_dim: int
    classes: int | None
    digest: str

    def __call__(self, images: Tensor) -> Features:
        """Return the features of images uint8 [B, 3, H, W].

        Raises:
            DataError: the network does not take images of that size.
        """
        ...


def reported(metric: str, extractor: FeatureExtractor) -> str:
    """Return the name of a number: ``fid``, ``sfid``, ``inception_score`` and ``rfid`` are those of the canonical weights alone.

    On any other features, and for any other metric, the name of the extractor is part of it: ``frechet[resnet20-cifar10]``.
    """
    if extractor.canonical and metric in KNOWN_AS:
        return KNOWN_AS[metric]
    return f"{metric}[{extractor.name}]"
