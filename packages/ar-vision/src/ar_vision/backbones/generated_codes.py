"""Images of codes drawn from a known law: for runs that need no data, and losses that are known beforehand.

Source: ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from torch import Tensor

__all__ = ["GeneratedCodes", "GeneratedSource"]


@dataclass(frozen=True)
class GeneratedCodes:
    """Each class has a pattern of codes; every place of an image shows it, or, with probability `noise`, any code.

    In place of a class a sample can have the features of a text, the same for all images of a class.

    Raises:
        ConfigError: a value is out of range.
    """

    noise: float = 0.1
    """Share of places with a code drawn evenly from all."""
    pattern_seed: int = 0
    """Seed of the patterns."""

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ConfigError(f"noise is {self.noise} and must be in [0, 1]")

    def entropy(self, vocab_size: int) -> float:
        """Nats per code of an image whose class is known: no model's held-out loss is lower."""
        other = self.noise / vocab_size
        own = 1 - self.noise + other
        rest = (vocab_size - 1) * other
        return -own * math.log(own) - (rest * math.log(other) if rest else 0.0)


class GeneratedSource:
    """Samples of :class:`GeneratedCodes` without end: `index`, `codes` int64 [L], `label`, and `features` [n, width] if asked for.

    Args:
        config: the law.
        classes: number of classes.
        length: L.
        vocab_size: V.
        split: of which no sample is in the other, but for chance.
        seed: of the samples.
        text: greatest length and width of the features of a text; None for samples without.
    """

    def __init__(
        self,
        config: GeneratedCodes,
        *,
        classes: int,
        length: int,
        vocab_size: int,
        split: Literal["train", "held_out"],
        seed: int,
        text: tuple[int, int] | None = None,
    ) -> None:
        self.config, self.split, self.seed, self.vocab_size = config, split, seed, vocab_size
        generator = SampleRng(config.pattern_seed).row(0, "patterns")
        self.patterns = torch.randint(vocab_size, (classes, length), generator=generator)
        # Of every length in turn, so that padding differs within a batch.
        self.texts = text and [torch.randn(1 + n % text[0], text[1], generator=generator) for n in range(classes)]

    def open(self, start: int) -> Iterator[dict[str, Any]]:
        """Yield samples `start`, `start + 1`, ...; sample n is a function of n, split and seed."""
        for index in itertools.count(start):
            generator = SampleRng(self.seed).row(index, self.split)
            label = int(torch.randint(len(self.patterns), (), generator=generator))
            sample = {"index": index, "codes": self._noisy(self.patterns[label], generator), "label": label}
            yield {**sample, "features": self.texts[label]} if self.texts else sample

    def once(self) -> Iterator[dict[str, Any]]:
        """The same as a stream for evaluation; it does not end."""
        return self.open(0)

    def describe(self) -> dict[str, Any]:
        """Settings."""
        return {"generated": vars(self.config), "split": self.split, "seed": self.seed}

    def _noisy(self, pattern: Tensor, generator: torch.Generator) -> Tensor:
        replaced = torch.rand(pattern.shape, generator=generator) < self.config.noise
        return torch.where(replaced, torch.randint(self.vocab_size, pattern.shape, generator=generator), pattern)
