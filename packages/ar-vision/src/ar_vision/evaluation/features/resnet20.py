"""ResNet-20 for images of 32 x 32 pixels (arXiv 1512.03385, section 4.2), with the parameter-free shortcut."""

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor, nn

from .extractor import Features

__all__ = ["ResNet20"]

SIDE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPATIAL_CHANNELS = 7
"""As many as sFID takes of the Inception network: with all 64, the covariance would need thousands of images more."""


class _Block(nn.Module):
    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.padding = stride, (channels - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h / stride, w / stride] before the last ReLU."""
        shortcut = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        out: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut
        return out


class ResNet20(nn.Module):
    """Classifier of CIFAR-10: 64 pooled features, 448 spatial ones, 10 classes.

    Spatial features are the first 7 channels of the last block before its ReLU, at each of 8 x 8 places. Parameters have the
    names of the published weights.

    Args:
        digest: SHA-256 of the file of the weights.
    """

    name = "resnet20-cifar10"
    canonical = False
    dim, spatial_dim, classes = 64, SPATIAL_CHANNELS * 64, 10
    mean: Tensor
    """float32 [3, 1, 1], what is taken away from colours in [0, 1]."""
    std: Tensor
    """float32 [3, 1, 1], what they are divided by."""

    def __init__(self, digest: str = "") -> None:
        super().__init__()
        self.digest = digest
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for number, (inputs, channels) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            first = _Block(inputs, channels, 1 if inputs == channels else 2)
            self.add_module(f"layer{number}", nn.Sequential(first, *(_Block(channels, channels, 1) for _ in range(2))))
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Features:
        """Return the features of images uint8 [B, 3, 32, 32].

        Raises:
            DataError: the images have another size.
        """
        before = self.map(images)
        pooled = F.relu(before).mean((2, 3))
        spatial = before[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        return Features(pooled, spatial, self.linear(pooled).softmax(-1))

    @torch.no_grad()
    def map(self, images: Tensor) -> Tensor:
        """Return the last block before its ReLU, float32 [B, 64, 8, 8], of images uint8 [B, 3, 32, 32].

        Raises:
            DataError: the images have another size.
        """
        if images.shape[2:] != (SIDE, SIDE):
            raise DataError(
                f"images of {images.shape[3]} x {images.shape[2]} pixels were given and {self.name} takes {SIDE} x {SIDE}: "
                "choose another extractor, resizing would change what is measured"
            )
        x = (images.to(self.mean.device, torch.float32) / 255 - self.mean) / self.std
        before: Tensor = self.bn1(self.conv1(x))
        x = F.relu(before)
        for number in (1, 2, 3):
            for block in self.get_submodule(f"layer{number}"):  # type: ignore[attr-defined]  # a Sequential
                before = block(x)
                x = F.relu(before)
        return before
