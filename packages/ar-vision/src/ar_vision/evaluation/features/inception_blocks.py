"""Blocks of an Inception network: parallel branches of convolutions, joined by channel."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Branch", "Convolution", "Mixed", "Pool"]

Kernel: TypeAlias = int | tuple[int, int]
Layer: TypeAlias = tuple[str, int, Kernel]
"""Name, output channels, height and width of the kernel."""


class Convolution(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, channels: int, kernel: Kernel, *, stride: int = 1, padding: Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, channels, h', w']."""
        return F.relu(self.bn(self.conv(x)))


class Branch:
    """A chain of layers; with a ``fork``, its end feeds several layers side by side. A stride belongs to the last layer."""

    def __init__(self, *layers: Layer, fork: tuple[Layer, ...] = (), stride: int = 1) -> None:
        self.layers, self.fork, self.stride = layers, fork, stride


@dataclass(frozen=True)
class Pool:
    """The branch that pools 3 x 3 places."""

    kind: Literal["average", "maximum", "halving"]
    """By average or by maximum at stride 1, or by maximum at stride 2, which halves the sides."""
    channels: int = 0
    """Of the 1 x 1 convolution behind it; 0: there is none."""

    def __call__(self, x: Tensor) -> Tensor:
        """Pool [B, C, h, w]."""
        if self.kind == "average":
            return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        if self.kind == "maximum":
            return F.max_pool2d(x, 3, 1, 1)
        return F.max_pool2d(x, 3, 2)


class Mixed(nn.Module):
    """Branches in order, the pool last; every layer is a module of its own name.

    Args:
        inputs: channels that come in.
        branches: what runs side by side.
        pool: the last branch.
    """

    def __init__(self, inputs: int, *branches: Branch, pool: Pool) -> None:
        super().__init__()
        self._branches, self._pool = branches, pool
        for branch in branches:
            channels = inputs
            for name, outputs, kernel in branch.layers:
                stride = branch.stride if name == branch.layers[-1][0] else 1
                self.add_module(name, _same(channels, outputs, kernel, stride))
                channels = outputs
            for name, outputs, kernel in branch.fork:
                self.add_module(name, _same(channels, outputs, kernel, 1))
        if pool.channels:
            self.branch_pool = Convolution(inputs, pool.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to the channels of all branches."""
        parts = []
        for branch in self._branches:
            y = x
            for name, _, _ in branch.layers:
                y = self.get_submodule(name)(y)
            parts += [self.get_submodule(name)(y) for name, _, _ in branch.fork] or [y]
        pooled = self._pool(x)
        parts.append(self.branch_pool(pooled) if self._pool.channels else pooled)
        return torch.cat(parts, dim=1)


def _same(inputs: int, channels: int, kernel: Kernel, stride: int) -> Convolution:
    """Padded to keep the sides, unless the stride reduces them: TensorFlow's SAME and VALID."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2) if stride == 1 else (0, 0)
    return Convolution(inputs, channels, kernel, stride=stride, padding=padding)
