"""Coarse to fine: the grids that a next-scale generator fills one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from ar_core.errors import ConfigError
from torch import Tensor

__all__ = ["ScaleSchedule"]


@dataclass(frozen=True)
class ScaleSchedule:
    """K grids of tokens, coarsest first; scale k has L_k = h_k w_k tokens, row by row, and L = sum of L_k.

    Attributes:
        sizes: (h_k, w_k) of each scale, neither ever shrinking from one scale to the next.

    Raises:
        ConfigError: no scale, a side below 1, or a scale smaller than the one before it.
    """

    sizes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.sizes or any(min(size) < 1 for size in self.sizes):
            raise ConfigError(
                f"the scales {list(self.sizes)} were given; give at least one, each of height and width 1 or more"
            )
        for before, after in zip(self.sizes, self.sizes[1:]):
            if after[0] < before[0] or after[1] < before[1]:
                raise ConfigError(
                    f"the scale {after[0]}x{after[1]} follows {before[0]}x{before[1]}; scales run from coarse to fine, "
                    "so that neither side may shrink"
                )

    @classmethod
    def square(cls, *sides: int) -> "ScaleSchedule":
        """Return the schedule of square grids with these sides (pn_k in the VAR code)."""
        return cls(tuple((side, side) for side in sides))

    @classmethod
    def of(cls, sizes: Sequence[int | Sequence[int]]) -> "ScaleSchedule":
        """Return the schedule that a config writes as sides, ``[1, 2, 4]``, or as heights and widths, ``[[1, 1], [2, 3]]``."""
        pairs = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
        for pair in pairs:
            if len(pair) != 2:
                raise ConfigError(f"the scale {list(pair)} was given; give its side, or its height and width")
        return cls(tuple((int(height), int(width)) for height, width in pairs))

    @property
    def count(self) -> int:
        """K."""
        return len(self.sizes)

    @property
    def height(self) -> int:
        """Of the finest scale."""
        return self.sizes[-1][0]

    @property
    def width(self) -> int:
        """Of the finest scale."""
        return self.sizes[-1][1]

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """L_k, tokens of each scale."""
        return tuple(height * width for height, width in self.sizes)

    @property
    def total(self) -> int:
        """L, tokens of all scales."""
        return sum(self.lengths)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each scale lies among the L tokens."""
        ends = [sum(self.lengths[: k + 1]) for k in range(self.count)]
        return tuple(slice(end - length, end) for end, length in zip(ends, self.lengths))

    def scale_ids(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the scale of each token, int64 [L]: lvl(i) in the spec, ``scale`` in `ar_core.masks.Tokens`."""
        return torch.repeat_interleave(torch.tensor(self.lengths)).to(device)

    def split(self, tensor: Tensor, dim: int = 1) -> list[Tensor]:
        """Return the part of each scale, [..., L_k, ...], of a tensor [..., L, ...] whose dimension ``dim`` has all L tokens.

        Raises:
            ConfigError: that dimension has another size.
        """
        if tensor.shape[dim] != self.total:
            raise ConfigError(
                f"{tensor.shape[dim]} tokens were given for the scales {self}, which have {self.total}: they belong to "
                "another schedule, give the one that made them"
            )
        return list(tensor.split(self.lengths, dim))

    def __str__(self) -> str:
        square = all(height == width for height, width in self.sizes)
        return ",".join(str(height) if square else f"{height}x{width}" for height, width in self.sizes)
