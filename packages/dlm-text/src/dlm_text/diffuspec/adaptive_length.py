"""The paper's adaptive draft length (arXiv 2510.02358, Eq. 9-11, Algorithm 1)."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["AdaptiveLength"]


@dataclass
class _Averages:
    generated: float = 0.0
    accepted: float = 0.0
    updates: int = 0


class AdaptiveLength:
    """k' = clip(L̃^gen + δ · [L̃^acc ≥ L̃^gen], k_min, k_max), with running averages that start at 0; the first k is k_max.

    With the published constants (20, 30, 10, 0.5) and no stop ids this gives 30 once and then 20 for ever: L̃^gen cannot
    exceed k, and growing needs every drafted token accepted on average. The rounding of a fractional k is not stated.

    Args:
        minimum: k_min.
        maximum: k_max.
        growth: δ.
        smoothing: ρ, weight of the newest round.
        rounding: `nearest`, halves up; `floor` as a third-party reimplementation (pluto0x0/DiffuSpec).
        bias_correction: divide the averages by 1 - (1 - ρ)^t, so that they do not start from 0.
    """

    def __init__(
        self,
        *,
        minimum: int = 20,
        maximum: int = 30,
        growth: int = 10,
        smoothing: float = 0.5,
        rounding: Literal["nearest", "floor"] = "nearest",
        bias_correction: bool = False,
    ) -> None:
        self._minimum, self._maximum, self._growth = minimum, maximum, growth
        self._smoothing, self._rounding, self._bias_correction = smoothing, rounding, bias_correction
        self._rows: list[_Averages] = []

    def begin(self, rows: int) -> None:
        """See :class:`DraftLength`."""
        self._rows = [_Averages() for _ in range(rows)]

    def averages(self, row: int) -> tuple[float, float]:
        """L̃^gen and L̃^acc of a row."""
        state = self._rows[row]
        scale = 1.0
        if self._bias_correction and state.updates:
            scale = 1 - (1 - self._smoothing) ** state.updates
        return state.generated / scale, state.accepted / scale

    def next(self, row: int, context: int) -> int:
        """See :class:`DraftLength`."""
        if not self._rows[row].updates:
            return self._maximum
        generated, accepted = self.averages(row)
        wanted = generated + (self._growth if accepted >= generated else 0)
        whole = math.floor(wanted + 0.5) if self._rounding == "nearest" else math.floor(wanted)
        return min(max(whole, self._minimum), self._maximum)

    def update(self, row: int, *, generated: int, judged: int, accepted: int) -> None:
        """See :class:`DraftLength`."""
        state, rho = self._rows[row], self._smoothing
        state.generated = (1 - rho) * state.generated + rho * generated
        state.accepted = (1 - rho) * state.accepted + rho * accepted
        state.updates += 1
