"""The sampler of text decoders.

Source: ours; draws by inversion of the cumulative distribution, filters as `filters` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from ar_kernels import Confidence, confidence
from torch import Generator, Tensor

from ar_core.config import require_types
from ar_core.errors import ConfigError
from ar_core.sampling.filters import keep_min_p, keep_top_k, keep_top_p

__all__ = ["Sampler", "invert"]

COLDEST = 1e-30
"""Lowest temperature above 0: logits up to 1e8 stay finite in float32 when they are divided by it."""


@dataclass(frozen=True)
class Sampler:
    """How a token is chosen from logits.

    Order: banned ids, temperature, top-k, top-p, min-p. At temperature 0 the choice is the argmax, which no filter can
    change, so none is applied.

    Attributes:
        temperature: T, 0 or at least 1e-30; 0 is greedy.
        top_k: keep so many ids, or None.
        top_p: keep the smallest set whose mass exceeds this, 0 < p <= 1, or None.
        min_p: keep ids at least this fraction of the most probable, 0 < p <= 1, or None.
        banned_ids: ids that are never chosen (a mask token).

    Raises:
        ConfigError: a value is of another type or out of range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    banned_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require_types(self)
        object.__setattr__(self, "banned_ids", tuple(self.banned_ids))
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature is {self.temperature}; it must be a number of at least 0 (0 is greedy).")
        if 0 < self.temperature < COLDEST:
            raise ConfigError(
                f"temperature is {self.temperature}, by which logits cannot be divided; give 0 (greedy), or at least {COLDEST}."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; it must be at least 1, or None for no limit.")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"{name} is {value}; it must lie in (0, 1], or be None for no limit.")

    @property
    def greedy(self) -> bool:
        """Whether the choice is the argmax."""
        return self.temperature == 0

    def filtered(self, logits: Tensor) -> Tensor:
        """Logits `[R, V]` float32 (float64 stays) of the distribution that is drawn from; what cannot be drawn is -inf.

        At temperature 0: the logits with banned ids at -inf.
        """
        scores = self._allowed(logits)
        if self.greedy:
            return scores
        scores = scores / self.temperature
        if self.top_k is not None:
            scores = keep_top_k(scores, self.top_k)
        if self.top_p is not None:
            scores = keep_top_p(scores, self.top_p)
        if self.min_p is not None:
            scores = keep_min_p(scores, self.min_p)
        return scores

    def pick(
        self, logits: Tensor, generators: Sequence[Generator] | None = None, *, raw_confidence: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Choose a token for each row of logits.

        Args:
            logits: `[R, V]`.
            generators: one per row (the same object may serve several; it is drawn from in row order); needed if
                `temperature > 0`.
            raw_confidence: confidences from the softmax at temperature 1 and without filters, however the token was
                drawn.

        Returns:
            tokens int64 `[R]` and confidences `[R]`: the probability of the chosen token in the distribution it was drawn
            from (at temperature 0, and with `raw_confidence`: in the softmax over all ids that are not banned).

        Raises:
            ConfigError: the temperature is positive and there is not one generator per row; or a banned id is no id of the
                model, or they are all it has.
        """
        if self.greedy and _one_pass(logits):
            found = self._most_probable(logits)
            return found.token, found.probability
        scores = self.filtered(logits)
        probabilities = scores.softmax(-1)
        # From the logits: two that differ may have equal probabilities once rounded.
        tokens = scores.argmax(-1) if self.greedy else draw(probabilities, generators)
        if raw_confidence and not self.greedy:
            probabilities = self._allowed(logits).softmax(-1)
        return tokens, probabilities.gather(-1, tokens[:, None])[:, 0]

    def choose(self, logits: Tensor, generators: Sequence[Generator] | None = None) -> Tensor:
        """The tokens of `pick` without their confidences, int64 `[R]`, of logits `[R, V]`; at temperature 0 no softmax is
        computed.
        """
        if not self.greedy:
            return draw(self.filtered(logits).softmax(-1), generators)
        if _one_pass(logits):
            return self._most_probable(logits).token
        return self._allowed(logits).argmax(-1) if self.banned_ids else logits.argmax(-1)

    def check_vocabulary(self, size: int) -> None:
        """Refuse banned ids that a model of so many ids does not have, or that are all it has.

        Raises:
            ConfigError: there is one, or they leave none.
        """
        if len(self.banned_ids) >= size and len(set(self.banned_ids)) >= size:
            raise ConfigError(
                f"All of the model's ids, 0 to {size - 1}, are not to be generated, which leaves none; ban fewer."
            )
        if self.banned_ids and not 0 <= min(self.banned_ids) <= max(self.banned_ids) < size:
            raise ConfigError(
                f"The ids {', '.join(map(str, self.banned_ids))} are not to be generated, and the model has ids 0 to "
                f"{size - 1}; give ids that it has, such as the mask token that it was trained with."
            )

    def _most_probable(self, logits: Tensor) -> Confidence:
        self.check_vocabulary(logits.shape[-1])
        return confidence(logits, banned_ids=self.banned_ids)

    def _allowed(self, logits: Tensor) -> Tensor:
        scores = logits if logits.dtype == torch.float64 else logits.float()
        if self.banned_ids:
            self.check_vocabulary(scores.shape[-1])
            scores = scores.index_fill(-1, _index(self.banned_ids, scores.device), -math.inf)
        return scores


def _one_pass(logits: Tensor) -> bool:
    """Whether one kernel gives token and probability; elsewhere entropy and margin, which it also gives, cost more than they
    save.
    """
    return logits.is_cuda and logits.dtype != torch.float64


@lru_cache(maxsize=64)
def _index(ids: tuple[int, ...], device: torch.device) -> Tensor:
    """The ids on a device; kept, because making the tensor anew waits for the device at every draw."""
    return torch.tensor(ids, device=device)


def draw(probabilities: Tensor, generators: Sequence[Generator] | None) -> Tensor:
    """One draw per row by inversion: int64 `[R]` from probabilities `[R, V]`.

    Takes exactly one uniform number from a row's generator, so the stream of a row is a function of how many tokens it drew.
    """
    if generators is None or len(generators) != probabilities.shape[0]:
        given = "none" if generators is None else str(len(generators))
        raise ConfigError(
            f"Sampling at a positive temperature needs one generator for each of {probabilities.shape[0]} rows, and {given} "
            f"were given; pass row_generators(seed, rows), or set the temperature to 0."
        )
    return invert(
        probabilities,
        torch.cat([torch.rand(1, dtype=torch.float64, generator=g, device=g.device).cpu() for g in generators]),
    )


def invert(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The ids at which the cumulative mass of each row passes a given number: a draw, if the number is uniform.

    Args:
        probabilities: `[R, V]`, at least 0, of any positive sum: each row is taken relative to its own.
        uniforms: float64 `[R]` in [0, 1), on any device.

    Returns:
        int64 `[R]`, never an id of probability 0.
    """
    mass = probabilities.double().cumsum(-1)
    total = mass[:, -1:]
    # Kept below the total, so that rounding cannot push the point past the last id with mass; "right" skips ids of mass 0.
    points = torch.minimum(uniforms.to(mass.device)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    # Among masses that are not numbers there is no place; an id all the same, so that it is the decoder that refuses them.
    return torch.searchsorted(mass, points, right=True)[:, 0].clamp(max=mass.shape[-1] - 1)
