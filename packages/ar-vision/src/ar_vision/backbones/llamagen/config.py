"""Sizes of LlamaGen and settings of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from ar_core.config import FREE, did_you_mean
from ar_core.errors import ConfigError

from ...later_field import LATER_FIELD
from ...text.config import TextEncoderName, TextShape

__all__ = ["SIZES", "LlamaGenConfig", "LlamaGenTraining", "Size"]


class Size(NamedTuple):
    """A published size."""

    layers: int
    """Transformer layers."""
    heads: int
    """H."""
    dim: int
    """C, the width."""


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "B": Size(12, 12, 768),
        "L": Size(24, 16, 1024),
        "XL": Size(36, 20, 1280),
        "XXL": Size(48, 24, 1536),
        "XXXL": Size(48, 40, 2560),
        "3B": Size(24, 32, 3200),
        "1B": Size(22, 32, 2048),
        "7B": Size(32, 32, 4096),
    }
)
"""Table 1 of the paper and the published code; 1B and 7B are text-conditional there."""

FEED_FORWARD_MULTIPLE = 256


@dataclass(frozen=True)
class LlamaGenConfig:
    """Architecture; g grid side, P condition positions, V codes, C width, H heads.

    Raises:
        ConfigError: a value is out of range, or the head dimension is no multiple of 4.
    """

    layers: int = 12
    """Transformer layers."""
    heads: int = 12
    """H."""
    dim: int = 768
    """C; C / H must be a multiple of 4, because rows and columns of the grid each rotate half of it in pairs."""
    vocab_size: int = 16384
    """V, codes of the tokenizer."""
    grid: int = 16
    """g: an image is g x g codes; 16 at 256 px, 24 at 384, 32 at 512 with a tokenizer of 16 px a code."""
    condition: Literal["class", "text"] = "class"
    """What stands before the codes: one embedding of a class, or P projected features of a text."""
    num_classes: int = 1000
    """Classes; the row after the last is the null class. Class condition only."""
    text_dim: int = 2048
    """Width of the text features; FLAN-T5-XL has 2048. Text condition only."""
    text_tokens: int = 120
    """P of the text condition: longer texts are cut, shorter ones padded on the left."""
    text_encoder: TextEncoderName | None = field(default=None, metadata=LATER_FIELD)
    """Whose features they are; null: a T5's, as published. ``hashed`` needs no language model. Text condition only."""
    rope_base: float = 10000.0
    """Base of the rotary frequencies."""
    norm_eps: float = 1e-5
    """Of the RMS norms."""
    token_dropout: float = 0.1
    """On what enters the first layer, condition included; in training only, as the next two."""
    residual_dropout: float = 0.1
    """On the output of attention."""
    ffn_dropout: float = 0.1
    """On the output of the feed-forward part."""
    init_std: float = 0.02
    """Standard deviation of fresh matrices and embeddings; the head starts at zero. Narrow models learn faster near
    1 / sqrt(C)."""

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "dim", "vocab_size", "grid", "num_classes", "text_dim", "text_tokens"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("token_dropout", "residual_dropout", "ffn_dropout"):
            _require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("rope_base", "norm_eps", "init_std"):
            _require(self, name, getattr(self, name) > 0, "positive")
        if self.text_encoder not in (None, *get_args(TextEncoderName)):
            raise ConfigError(f"text_encoder is {self.text_encoder!r}; choose t5 or hashed")
        if self.text_encoder is not None and self.condition != "text":
            raise ConfigError(
                f"text_encoder is {self.text_encoder!r} and condition is {self.condition!r}: set condition to text, or leave it out"
            )
        if self.dim % (4 * self.heads):
            raise ConfigError(
                f"dim is {self.dim} with {self.heads} heads: it must be a multiple of 4 x heads, {4 * self.heads}, because "
                "each head rotates pairs by the row and pairs by the column"
            )

    @classmethod
    def of_size(cls, name: str, **more: Any) -> LlamaGenConfig:
        """Return a published size, with other fields as given.

        Raises:
            ConfigError: there is no size of that name; the nearest is given.
        """
        if name not in SIZES:
            raise ConfigError(f"LlamaGen has no size {name!r}; {did_you_mean(name, SIZES)}")
        return cls(**{**SIZES[name]._asdict(), **more})

    @property
    def head_dim(self) -> int:
        """D."""
        return self.dim // self.heads

    @property
    def ffn_dim(self) -> int:
        """Width of the feed-forward part: two thirds of 4C, rounded up to a multiple of 256."""
        return -(-(8 * self.dim // 3) // FEED_FORWARD_MULTIPLE) * FEED_FORWARD_MULTIPLE

    @property
    def prefix(self) -> int:
        """P, positions of the condition."""
        return 1 if self.condition == "class" else self.text_tokens

    @property
    def texts(self) -> TextShape:
        """Texts that a model of texts takes."""
        return TextShape(self.text_encoder or "t5", self.text_dim, self.text_tokens)

    @property
    def codes(self) -> int:
        """L = g², codes of an image."""
        return self.grid**2


@dataclass(frozen=True)
class LlamaGenTraining:
    """How codes are learned from; model, data and optimiser have their own sections.

    Raises:
        ConfigError: a value is out of range.
    """

    condition_dropout: float = 0.1
    """Share of samples that are trained with the null condition, drawn by the sample's own rng; what guidance needs. Never
    applied in evaluation."""
    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        _require(self, "condition_dropout", 0 <= self.condition_dropout <= 1, "in [0, 1]")
        _require(self, "max_logits", self.max_logits is None or self.max_logits >= 1, "at least 1, or null")


def _require(config: object, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {getattr(config, name)!r} and must be {allowed}")
