"""From the settings of an extractor to the network with its weights."""

from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from ar_core.config import expand_path
from ar_core.errors import CheckpointError
from ar_core.io import load_strict, read_weights
from ar_core.training.device import choose_device

from ...construction import undrawn
from .extractor import FeatureExtractor
from .inception import InceptionV3
from .resnet20 import ResNet20

__all__ = ["FeaturesConfig", "open_features"]

NETWORKS = {"resnet20-cifar10": ResNet20, "inception-v3": InceptionV3}


@dataclass(frozen=True)
class FeaturesConfig:
    """A network by name, with its weights by path: nothing is downloaded."""

    kind: Literal["resnet20-cifar10", "inception-v3"]
    """``resnet20-cifar10``: images of 32 x 32 pixels. ``inception-v3``: any images; with the file
    pt_inception-2015-12-05-6726825d.pth, and only with it, its distance is FID."""
    path: str
    """File of the weights, safetensors or .pth (read without running code); ``~`` and ``$NAME`` are expanded."""


def open_features(config: FeaturesConfig, device: str = "cpu") -> FeatureExtractor:
    """Build the network and load its weights strictly.

    Args:
        config: which.
        device: as in `ar_core.training.choose_device`.

    Raises:
        CheckpointError: the file is missing, damaged or of another network; names the keys.
        ConfigError: there is no such device.
    """
    path = expand_path(config.path)
    where = choose_device(device)
    digest = _digest(path)
    network = undrawn(lambda: NETWORKS[config.kind](digest))
    tensors = read_weights(path)
    # Counters of training steps are in some copies of the files and not in others, and play no part in eval mode.
    counters = {name: value for name, value in network.named_buffers() if name.endswith("num_batches_tracked")}
    load_strict(network, {**tensors, **counters}, source=str(path))
    return network.eval().to(where)  # type: ignore[return-value]  # an extractor is a module, too


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): give the file of the weights") from error
