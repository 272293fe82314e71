"""Sizes of xAR and settings of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from ar_core.config import did_you_mean, require_positive
from ar_core.errors import ConfigError

__all__ = ["SIZES", "Size", "XarConfig", "XarTraining"]


class Size(NamedTuple):
    """A published size."""

    layers: int
    """Transformer layers."""
    heads: int
    """H."""
    dim: int
    """C, the width."""


SIZES: Mapping[str, Size] = MappingProxyType({"B": Size(16, 12, 768), "H": Size(40, 16, 1280)})
"""The published code's, 172 million and 1.1 billion parameters: 8 + 8 and 20 + 20 layers."""


@dataclass(frozen=True)
class XarConfig:
    """Architecture; g grid side, Cv channels of the features, C width, H heads.

    Raises:
        ConfigError: a value is out of range, heads do not divide the width, or cells the grid.
    """

    layers: int = 16
    """Transformer layers."""
    heads: int = 12
    """H."""
    dim: int = 768
    """C."""
    code_dim: int = 16
    """Cv, of the tokenizer's quantised features: 8 of each of GloTok's codebooks."""
    grid: int = 16
    """g: an image is g x g places."""
    cell: int = 8
    """Side of a cell, in places; cells follow each other in raster order."""
    num_classes: int = 1000
    """Classes; the row after the last is the null class."""
    latent_std: float | None = None
    """What features are divided by; null: their standard deviation, measured on the first pictures of the training."""
    dropout: float = 0.1
    """On the outputs of attention and feed-forward; in training only. Published: on attention weights and projections."""

    def __post_init__(self) -> None:
        require_positive(self, "layers", "heads", "dim", "code_dim", "grid", "cell", "num_classes")
        if self.latent_std is not None and not (math.isfinite(self.latent_std) and self.latent_std > 0):
            raise ConfigError(
                f"latent_std is {self.latent_std} and must be a positive number, or null to have it measured"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout} and must be in [0, 1)")
        if self.dim % self.heads:
            raise ConfigError(f"dim is {self.dim} with {self.heads} heads, which do not divide it: change one of them")
        if self.grid % self.cell:
            raise ConfigError(
                f"cell is {self.cell} and does not divide the grid of {self.grid} x {self.grid}: change one of them"
            )

    @classmethod
    def of_size(cls, name: str, **more: Any) -> XarConfig:
        """Return a published size, with other fields as given.

        Raises:
            ConfigError: there is no size of that name; the nearest is given.
        """
        if name not in SIZES:
            raise ConfigError(f"xAR has no size {name!r}; {did_you_mean(name, SIZES)}")
        return cls(**{**SIZES[name]._asdict(), **more})

    @property
    def cells(self) -> int:
        """K, of an image."""
        return (self.grid // self.cell) ** 2

    @property
    def places(self) -> int:
        """m, of a cell."""
        return self.cell**2


@dataclass(frozen=True)
class XarTraining:
    """How features are learned from.

    Raises:
        ConfigError: a value is out of range.
    """

    condition_dropout: float = 0.1
    """Share of samples that are trained with the null class; what guidance needs. Never applied in evaluation."""
    time_mean: float = 0.0
    """Of the logit of the time, which is normal."""
    time_std: float = 1.0
    """Its standard deviation."""

    def __post_init__(self) -> None:
        if not 0 <= self.condition_dropout <= 1:
            raise ConfigError(f"condition_dropout is {self.condition_dropout} and must be in [0, 1]")
        if not (math.isfinite(self.time_mean) and math.isfinite(self.time_std) and self.time_std > 0):
            raise ConfigError(
                f"time_mean is {self.time_mean} and time_std {self.time_std}: give finite numbers, the latter positive"
            )
