"""How a code is chosen from the logits of an image model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from ar_core.errors import ConfigError
from ar_core.sampling import invert, llamagen_filter, var_filter
from torch import Generator, Tensor

__all__ = ["Convention", "ImageSampler"]

Convention = Literal["var", "llamagen"]
"""Whose order of filters and edges: VAR and FlexVAR, or LlamaGen."""
COLDEST = 1e-6


@dataclass(frozen=True)
class ImageSampler:
    """Temperature, then top-k, then top-p by one of the two published conventions, which differ from each other.

    Attributes:
        convention: whose top-p: "var" (also FlexVAR) or "llamagen"; see `ar_core.sampling.image_top_p`.
        temperature: T, 0 or at least 1e-6; 0 is greedy, which no filter can change.
        top_k: keep so many codes and all that equal the last of them, or None (published: 0) for no limit.
        top_p: keep this much mass, 0 < p <= 1, or None for no limit (published: 0 by VAR, 1 by LlamaGen).

    Raises:
        ConfigError: a value is out of range.
    """

    convention: Convention = "var"
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.convention not in get_args(Convention):
            raise ConfigError(f"convention is {self.convention!r}; choose {' or '.join(get_args(Convention))}.")
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature is {self.temperature}; it must be a number of at least 0 (0 is greedy).")
        if 0 < self.temperature < COLDEST:
            # Logits divided by it would leave the range of float32, and be drawn from as if they meant something.
            raise ConfigError(
                f"temperature is {self.temperature}; it must be 0, which is greedy, or at least {COLDEST}."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; it must be at least 1, or None for no limit.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; it must lie in (0, 1], or be None for no limit.")

    @property
    def greedy(self) -> bool:
        """Whether the choice is the argmax."""
        return self.temperature == 0

    def filtered(self, logits: Tensor) -> Tensor:
        """Logits `[..., V]`, float32 (float64 stays), of the distribution that is drawn from; what cannot be drawn is -inf.

        At temperature 0: the logits.
        """
        scores = logits if logits.dtype == torch.float64 else logits.float()
        if self.greedy:
            return scores
        scores = scores / self.temperature
        if self.convention == "var":
            return var_filter(scores, self.top_k or 0, self.top_p or 0.0)
        return llamagen_filter(scores, self.top_k or 0, 1.0 if self.top_p is None else self.top_p)

    def pick(self, logits: Tensor, generators: Sequence[Generator] | None = None) -> Tensor:
        """Choose a code for each place of each row.

        Takes exactly one uniform number for each code from its row's generator, in the order of the places: what a row draws
        depends on neither its batch mates nor on how many places a pass holds.

        Args:
            logits: `[R, n, V]`.
            generators: one per row; needed if the temperature is positive.

        Returns:
            int64 `[R, n]`.

        Raises:
            ConfigError: the temperature is positive and there is not one generator per row.
        """
        if self.greedy:
            return logits.argmax(-1)
        rows, places = logits.shape[:2]
        if generators is None or len(generators) != rows:
            given = "none" if generators is None else str(len(generators))
            raise ConfigError(
                f"Sampling at a positive temperature needs one generator for each of {rows} rows, and {given} were given; "
                f"pass row_generators(seed, rows), or set the temperature to 0."
            )
        uniforms = torch.cat(
            [torch.rand(places, dtype=torch.float64, generator=g, device=g.device).cpu() for g in generators]
        )
        return self.place(logits, uniforms.view(rows, places))

    def place(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        """Choose the codes at which the cumulative mass passes given numbers: a draw, if these are uniform.

        Args:
            logits: `[..., V]`.
            uniforms: float64 `[...]` in [0, 1), on any device; greedy choices leave them unread.

        Returns:
            int64 `[...]`.
        """
        if self.greedy:
            return logits.argmax(-1)
        return invert(self.filtered(logits).softmax(-1).flatten(0, -2), uniforms.flatten()).view(uniforms.shape)
