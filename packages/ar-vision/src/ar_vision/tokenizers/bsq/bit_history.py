"""Bits of scale after scale as one sum of codes: what training and decoding are fed from."""

from typing import get_args

import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError
from ar_kernels.nearest_code import code_of_bits, nearest_bits
from torch import Tensor

from ...scales import ScaleSchedule
from .config import InputResize

__all__ = ["BitHistory"]


class BitHistory:
    """The sum of the codes so far, at the resolution of the last scale.

    A bit b stands for the coordinate (2 b - 1) / sqrt(d), so that the d bits of a latent cell are a vector of length 1. Scale k
    adds its codes, enlarged (bilinear: the published trilinear with one frame), and codes the residual of the features that
    is left, shrunk to its grid by averaging (arXiv 2412.04431, section 3.2).

    Letters: B rows, d bits of a latent cell, d_v bits of a token, h_k x w_k tokens of scale k, H x W of the last. With
    ``side`` s = 2 a token is a square of 2x2 cells, d_v = 4 d with bit 4 c + 2 y + x for channel c of the cell (y, x); else
    s = 1 and d_v = d.

    Args:
        batch: B.
        schedule: K scales of tokens.
        bits: d_v.
        side: s.
        device: where the sum is.
        input_resize: of :meth:`next_input`.

    Raises:
        ConfigError: there is no such resize.
    """

    def __init__(
        self,
        batch: int,
        schedule: ScaleSchedule,
        bits: int,
        *,
        side: int = 1,
        device: torch.device | str = "cpu",
        input_resize: InputResize = "bilinear",
    ) -> None:
        if input_resize not in get_args(InputResize):
            raise ConfigError(f"the resize of inputs is {input_resize!r}; choose {' or '.join(get_args(InputResize))}")
        self.schedule, self.side, self.bits, self._resize = schedule, side, bits, input_resize
        self._scale = 0
        size = (schedule.height * side, schedule.width * side)
        self._sum = torch.zeros(batch, bits // side**2, *size, device=device)

    @property
    def features(self) -> Tensor:
        """What the tokenizer's ``decode`` takes, float32 [B, d, s H, s W]."""
        return self._sum

    def residual(self, features: Tensor) -> Tensor:
        """Return what the coming scale has to code of features [B, d, s H, s W]: float32 [B, d, s h_k, s w_k].

        Raises:
            ConfigError: the features are of another grid than the schedule's last scale, or all scales are there.
        """
        if features.shape[1:] != self._sum.shape[1:]:
            raise ConfigError(
                f"features of shape {list(features.shape[1:])} were given for the scales {self.schedule}, which need "
                f"{list(self._sum.shape[1:])}: give images of {self.schedule.height}x{self.schedule.width} tokens, or "
                "the schedule of these"
            )
        left = features.float() - self._sum
        size = self._cells(self._next())
        return left if size == left.shape[2:] else F.interpolate(left, size=size, mode="area")

    def bits_of(self, residual: Tensor) -> Tensor:
        """Return the bits of a residual [B, d, s h_k, s w_k], bool [B, L_k, d_v]; zero counts as bit 0."""
        grid = nearest_bits(residual)
        if self.side > 1:
            grid = F.pixel_unshuffle(grid.to(torch.uint8), self.side) > 0
        return grid.flatten(2).transpose(1, 2)

    def codes_of(self, bits: Tensor, scale: int) -> Tensor:
        """Return the code vectors of bits [B, L_k, d_v]: float32 [B, d, s h_k, s w_k], each of length 1."""
        grid = bits.transpose(1, 2).unflatten(2, self.schedule.sizes[scale]).to(torch.uint8)
        if self.side > 1:
            grid = F.pixel_shuffle(grid, self.side)
        return code_of_bits(grid.movedim(1, -1)).movedim(-1, 1)

    def enlarged(self, codes: Tensor) -> Tensor:
        """Return codes, float [B, d, s h_k, s w_k] in units of 1/sqrt(d), at the last scale, [B, d, s H, s W]."""
        return _resize(codes, tuple(self._sum.shape[2:]))

    def add(self, codes: Tensor) -> None:
        """Take the bits of the next scale, bool or 0/1 integers [B, L_k, d_v].

        Raises:
            ConfigError: they are of another shape, or all scales are there.
        """
        scale = self._next()
        expected = (self._sum.shape[0], self.schedule.lengths[scale], self.bits)
        if codes.shape != expected:
            raise ConfigError(
                f"bits of shape {list(codes.shape)} were given for scale {scale} of {self.schedule}, which takes "
                f"{list(expected)}: they belong to another schedule or tokenizer"
            )
        self.add_codes(self.codes_of(codes, scale))

    def add_codes(self, codes: Tensor) -> None:
        """Take the code vectors of the next scale, float32 [B, d, s h_k, s w_k], with their gradient.

        Raises:
            ConfigError: all scales are there.
        """
        self._next()
        self._sum = self._sum + self.enlarged(codes)
        self._scale += 1

    def next_input(self) -> Tensor:
        """Return what the coming scale is fed with, float32 [B, d_v, h_k, w_k]: the sum so far on its grid.

        The published quantiser also hands out inputs resized by area; the published transformers were trained on bilinear ones.
        """
        size = self._cells(self._next())
        if self._resize == "area" and size != self._sum.shape[2:]:
            resized = F.interpolate(self._sum, size=size, mode="area")
        else:
            resized = _resize(self._sum, size)
        return F.pixel_unshuffle(resized, self.side) if self.side > 1 else resized

    def _next(self) -> int:
        if self._scale == self.schedule.count:
            raise ConfigError(f"all {self.schedule.count} scales of {self.schedule} are there: start a new history")
        return self._scale

    def _cells(self, scale: int) -> tuple[int, int]:
        height, width = self.schedule.sizes[scale]
        return height * self.side, width * self.side


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
