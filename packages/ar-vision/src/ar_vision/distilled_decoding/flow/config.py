"""How the flow is solved. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["FlowSolver"]


@dataclass(frozen=True)
class FlowSolver:
    """The solver of the flow from noise to code.

    All solvers move z = x / (1 - s) along tau = s / (1 - s), where the flow is dz/dtau = D and a step with D frozen is exact.

    Raises:
        ConfigError: a value is out of range.
    """

    kind: Literal["adaptive", "heun", "euler"] = "adaptive"
    """``adaptive``: Dormand and Prince's pair of orders 5 and 4, with steps of its own for each draw, until one code has all the
    weight. ``heun`` (order 2) and ``euler`` (order 1; the same as an exponential or DDIM step): equal steps in s."""
    steps: int = 200
    """N of ``heun`` and ``euler``; a comment in published code says 200. Not used by ``adaptive``."""
    tolerance: float = 1e-4
    """Largest estimated error of a step of ``adaptive``, in units of the noise. At 1e-4, about 40 evaluations a draw."""
    closed_forms: bool = True
    """Take codebooks of one dimension, or of two codes, by their closed forms, which are exact."""

    def __post_init__(self) -> None:
        if self.kind not in ("adaptive", "heun", "euler"):
            raise ConfigError(f"kind is {self.kind!r}; choose adaptive, heun or euler")
        require_positive(self, "steps")
        if not (math.isfinite(self.tolerance) and 0 < self.tolerance < 1):
            raise ConfigError(f"tolerance is {self.tolerance}; it must lie between 0 and 1")
