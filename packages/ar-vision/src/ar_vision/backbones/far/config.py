"""Sizes of FAR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from ar_core.config import did_you_mean, require_positive
from ar_core.errors import ConfigError

from ..llamagen.config import LlamaGenConfig

__all__ = ["SIZES", "FarConfig", "Size"]


class Size(NamedTuple):
    """A published size."""

    layers: int
    """Transformer layers."""
    head_layers: int
    """Layers of the head over the two codes of a cell."""
    heads: int
    """H."""
    dim: int
    """C, the width."""


SIZES: Mapping[str, Size] = MappingProxyType({"B": Size(24, 3, 16, 1024), "L": Size(36, 4, 20, 1280)})
"""FQGAN's code: 415 and 898 million parameters with two codebooks of 16384."""


@dataclass(frozen=True)
class FarConfig:
    """Architecture; g grid side, n_1 and n_2 codes, C width, H heads.

    Raises:
        ConfigError: a value is out of range, or the head dimension is no multiple of 4.
    """

    layers: int = 24
    """Transformer layers over the cells."""
    head_layers: int = 3
    """Layers of the head over the two codes of a cell."""
    heads: int = 16
    """H, of both."""
    dim: int = 1024
    """C; C / H must be a multiple of 4."""
    vocab_sizes: tuple[int, ...] = (12288, 4096)
    """n_1 and n_2 of the tokenizer, in its order."""
    grid: int = 16
    """g: an image is g x g pairs."""
    num_classes: int = 1000
    """Classes; the row after the last is the null class."""
    rope_base: float = 10000.0
    """Base of the rotary frequencies."""
    norm_eps: float = 1e-5
    """Of the RMS norms."""
    token_dropout: float = 0.1
    """On what enters the first layer; in training only, as the next two."""
    residual_dropout: float = 0.1
    """On the output of attention."""
    ffn_dropout: float = 0.1
    """On the output of the feed-forward part."""
    init_std: float = 0.02
    """Standard deviation of fresh matrices and embeddings; the heads start at zero."""

    def __post_init__(self) -> None:
        require_positive(self, "head_layers")
        if len(self.vocab_sizes) != 2 or min(self.vocab_sizes) < 1:
            raise ConfigError(
                f"vocab_sizes is {list(self.vocab_sizes)} and must be two positive numbers, one a codebook"
            )
        _ = self.trunk

    @classmethod
    def of_size(cls, name: str, **more: Any) -> FarConfig:
        """Return a published size, with other fields as given.

        Raises:
            ConfigError: there is no size of that name; the nearest is given.
        """
        if name not in SIZES:
            raise ConfigError(f"FAR has no size {name!r}; {did_you_mean(name, SIZES)}")
        return cls(**{**SIZES[name]._asdict(), **more})

    @property
    def vocab_size(self) -> int:
        """Pairs that there are."""
        first, second = self.vocab_sizes
        return first * second

    @property
    def trunk(self) -> LlamaGenConfig:
        """The shape of the layers over the cells, whose codes are pairs."""
        return LlamaGenConfig(
            layers=self.layers,
            heads=self.heads,
            dim=self.dim,
            vocab_size=self.vocab_size,
            grid=self.grid,
            num_classes=self.num_classes,
            rope_base=self.rope_base,
            norm_eps=self.norm_eps,
            token_dropout=self.token_dropout,
            residual_dropout=self.residual_dropout,
            ffn_dropout=self.ffn_dropout,
            init_std=self.init_std,
        )
