"""The perceptual distance LPIPS, version 0.1 with AlexNet features (arXiv 1801.03924)."""

from pathlib import Path

import torch
import torch.nn.functional as F
from ar_core.config import expand_path
from ar_core.errors import ConfigError, DataError
from ar_core.io import load_strict, read_tensors
from torch import Tensor, nn

from ...construction import undrawn

__all__ = ["SMALLEST", "Lpips", "load_lpips"]

SMALLEST = 31
"""Pixels of the shortest side that leave every layer of AlexNet at least one cell."""

# Mean and standard deviation of ImageNet's pixels, moved from [0, 1] to [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)

# Of a sum of squares, so that cells without any activation have a distance and a gradient of zero instead of NaN.
TINY = 1e-20


class Lpips(nn.Module):
    """Weighted squared distance of two images' unit-normalised AlexNet activations, behind each of its five ReLUs.

    d(x, y) = sum over layers l of the mean over cells of sum_c w_lc (x_lc - y_lc)². Parameters are named as in the layout
    that :func:`load_lpips` reads. The network is a frozen companion: it has no state of training.

    Args:
        minimum_size: images whose shorter side is below it are enlarged bilinearly to it, in proportion. The distance was
            fitted on patches of 64 pixels; natively AlexNet takes images from 31 pixels on, with one cell left in its
            deepest layers. Numbers of different minimum sizes are not comparable.

    Raises:
        ConfigError: ``minimum_size`` is below 31.
    """

    shift: Tensor
    """float32 [1, 3, 1, 1], what is taken away from colours in [-1, 1]."""
    scale: Tensor
    """float32 [1, 3, 1, 1], what they are divided by."""

    def __init__(self, minimum_size: int = 64) -> None:
        super().__init__()
        if minimum_size < SMALLEST:
            raise ConfigError(
                f"minimum_size is {minimum_size}; AlexNet needs images of at least {SMALLEST} pixels, give that or more"
            )
        self.minimum_size = minimum_size
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 11, stride=4, padding=2),
                "3": nn.Conv2d(64, 192, 5, padding=2),
                "6": nn.Conv2d(192, 384, 3, padding=1),
                "8": nn.Conv2d(384, 256, 3, padding=1),
                "10": nn.Conv2d(256, 256, 3, padding=1),
            }
        )
        for index, width in enumerate((64, 192, 384, 256, 256)):
            self.add_module(f"lin{index}", nn.Conv2d(width, 1, 1, bias=False))
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        """Return the distance of each pair.

        Args:
            images: float `[B, 3, H, W]` in [-1, 1]; the gradient reaches them.
            references: the same, without a gradient.

        Returns:
            float32 `[B]`, at least 0.

        Raises:
            DataError: The two have different shapes.
        """
        if images.shape != references.shape:
            raise DataError(
                f"images {list(images.shape)} and references {list(references.shape)} were given; LPIPS compares images of "
                "one shape, resize one of them"
            )
        # Also under autocast: differences of half-precision activations are mostly rounding once images are close.
        with torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():
                targets = self.activations(references.float())
            distance = images.new_zeros(len(images), dtype=torch.float32)
            for index, (ours, theirs) in enumerate(zip(self.activations(images.float()), targets)):
                head: Tensor = self.get_submodule(f"lin{index}").weight  # type: ignore[assignment]  # what __init__ put there
                difference = (_unit(ours) - _unit(theirs)).square()
                distance = distance + torch.einsum("bchw,c->b", difference, head.flatten()) / difference[0, 0].numel()
        return distance

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the five ReLU outputs `[B, C_l, H_l, W_l]` of images `[B, 3, H, W]` in [-1, 1]."""
        x = (self._enlarged(images) - self.shift) / self.scale
        found = []
        for name, convolution in self.features.items():
            if name in ("3", "6"):
                x = F.max_pool2d(x, kernel_size=3, stride=2)
            x = F.relu(convolution(x))
            found.append(x)
        return found

    def _enlarged(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        factor = self.minimum_size / min(height, width)
        if factor <= 1:
            return images
        size = (round(height * factor), round(width * factor))
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def load_lpips(path: str | Path, minimum_size: int = 64) -> Lpips:
    """Read LPIPS from a safetensors file: ``features.{0,3,6,8,10}`` of AlexNet and ``lin{0-4}.weight``, of any float type.

    Args:
        path: the file; ``~`` and ``$NAME`` are expanded.
        minimum_size: as in :class:`Lpips`.

    Returns:
        The network in float32, in eval mode, without gradients for its weights.

    Raises:
        CheckpointError: The file is missing, damaged or of another layout.
    """
    path = expand_path(str(path))
    network = undrawn(lambda: Lpips(minimum_size))
    load_strict(network, read_tensors(path), source=str(path))
    return network.eval()


def _unit(activations: Tensor) -> Tensor:
    return activations / (activations.square().sum(1, keepdim=True) + TINY).sqrt()
