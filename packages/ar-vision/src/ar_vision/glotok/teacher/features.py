"""Feature maps of frozen networks.

Letters: B images, d channels, h x w places of a network's map.

Source: ours.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError, DataError
from torch import Tensor

from ...digest import digest_of
from ...evaluation.features import FeaturesConfig, open_features
from ...evaluation.features.resnet20 import ResNet20
from ...pixels import to_signed
from ...tokenizers.training.lpips import load_lpips
from .config import PatchFeaturesConfig
from .vision_transformer import VisionTransformer

__all__ = ["PatchFeatures", "open_patch_features"]

PATCH = 4


class PatchFeatures(Protocol):
    """A frozen network.

    Attributes:
        facts: what tells it from others: kind, layer and a digest of its weights; JSON-able.
    """

    facts: Mapping[str, Any]

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 `[B, d, h, w]` of images uint8 `[B, 3, H, W]`.

        Raises:
            DataError: it does not take images of that size.
        """
        ...


def open_patch_features(config: PatchFeaturesConfig, device: torch.device) -> PatchFeatures:
    """Read a network.

    Raises:
        CheckpointError: its weights cannot be read.
        ConfigError: it has no such layer.
        MissingPackageError: it needs transformers, which is not installed.
    """
    if config.kind == "pixels":
        return Pixels()
    assert config.source is not None
    if config.kind == "resnet20-cifar10":
        return ResNetMap(config.source, device)
    if config.kind == "lpips-alexnet":
        return AlexNetMap(config.source, -1 if config.layer is None else config.layer, device)
    return VisionTransformer(config.kind, config.source, -2 if config.layer is None else config.layer, device)


class Pixels:
    """Patches of 4 x 4 pixels as vectors of 48 numbers in [-1, 1]."""

    facts: Mapping[str, Any] = {"kind": "pixels"}

    def __call__(self, images: Tensor) -> Tensor:
        """`[B, 48, H / 4, W / 4]`."""
        if images.shape[2] % PATCH or images.shape[3] % PATCH:
            raise DataError(
                f"images of {images.shape[3]} x {images.shape[2]} pixels were given: give multiples of {PATCH}"
            )
        return F.pixel_unshuffle(to_signed(images), PATCH)


class ResNetMap:
    """The last block of ResNet-20 before its ReLU: 64 channels at 8 x 8 places.

    Args:
        source: file of its weights.
        device: where it runs.
    """

    def __init__(self, source: str, device: torch.device) -> None:
        network = open_features(FeaturesConfig(kind="resnet20-cifar10", path=source), str(device))
        assert isinstance(network, ResNet20)
        self.network: ResNet20 = network
        self.facts: Mapping[str, Any] = {"kind": "resnet20-cifar10", "digest": network.digest}

    def __call__(self, images: Tensor) -> Tensor:
        """`[B, 64, 8, 8]`."""
        return self.network.map(images)


class AlexNetMap:
    """A ReLU of the AlexNet of LPIPS.

    Args:
        source: file of LPIPS.
        layer: -5 to 4, of its five ReLUs.
        device: where it runs.

    Raises:
        ConfigError: there is no such layer.
    """

    def __init__(self, source: str, layer: int, device: torch.device) -> None:
        if not -5 <= layer < 5:
            raise ConfigError(f"features.layer is {layer} and AlexNet has five, 0 to 4 or -5 to -1: give one of them")
        self.network, self.layer = load_lpips(source).to(device), layer
        self.facts: Mapping[str, Any] = {
            "kind": "lpips-alexnet",
            "layer": layer % 5,
            "digest": digest_of(self.network.state_dict()),
        }

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """`[B, C_l, h, w]`."""
        where = next(self.network.parameters()).device
        return self.network.activations(to_signed(images).to(where))[self.layer]
