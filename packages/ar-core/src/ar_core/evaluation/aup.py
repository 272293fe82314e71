"""AUP, accuracy under parallelism: one number for a whole curve of accuracy against tokens per forward."""

import math
from collections.abc import Iterable
from itertools import pairwise

from ..errors import ConfigError

__all__ = ["accuracy_under_parallelism"]


def accuracy_under_parallelism(
    points: Iterable[tuple[float, float]], *, best: float | None = None, penalty: float = 3.0, tolerance: float = 0.05
) -> float:
    """Weighted area under the curve of accuracy (in percent) against parallelism (tokens per forward).

    With the points sorted by parallelism, rho_1 < ... < rho_m, and y_i their accuracies::

        AUP = rho_1 y_1 + sum_{i >= 2} (rho_i - rho_{i-1}) (y_i W(y_i) + y_{i-1} W(y_{i-1})) / 2
        W(y) = min(1, exp(-alpha (1 - y / y_best)))

    Points with y_i < y_1 - tolerance do not count: speed bought with so much accuracy is worth nothing. A model that
    decodes one token per pass has AUP = its accuracy in percent. This is the measure of d3LLM (arXiv 2601.07568: alpha = 3,
    five points of tolerance, y_best over all models compared), restated here in full; the papers of the methods in this
    workspace define none.

    Args:
        points: (tokens per forward > 0, accuracy in [0, 1]) of one model and task, in any order. Of equal parallelisms the
            most accurate counts.
        best: y_best in (0, 1], the best accuracy of all models compared; default: the best of ``points``. Numbers computed
            with different ones cannot be compared.
        penalty: alpha >= 0; 0 gives the plain area.
        tolerance: in [0, 1].

    Returns:
        AUP >= 0, in percent times tokens per forward.

    Raises:
        ConfigError: no points, or a value out of range.
    """
    curve: dict[float, float] = {}
    for rho, accuracy in points:
        if not (rho > 0 and math.isfinite(rho)) or not 0 <= accuracy <= 1:
            raise ConfigError(
                f"a point of {rho} tokens per forward at an accuracy of {accuracy} was given to AUP; it needs a positive number "
                "and a share between 0 and 1."
            )
        curve[rho] = max(accuracy, curve.get(rho, 0.0))
    if not curve:
        raise ConfigError("AUP was asked of no points; give at least one pair of tokens per forward and accuracy.")
    if penalty < 0 or not 0 <= tolerance <= 1 or (best is not None and not 0 < best <= 1):
        raise ConfigError(
            f"AUP was given best={best}, penalty={penalty} and tolerance={tolerance}; the best accuracy lies in (0, 1], the penalty "
            "is at least 0 and the tolerance lies in [0, 1]."
        )
    ordered = sorted(curve.items())
    start, first = ordered[0]
    # Accuracies are counts over counts: a point exactly at the tolerance must not fall to rounding.
    kept = [(rho, accuracy) for rho, accuracy in ordered if accuracy >= first - tolerance - 1e-9]
    top = max(curve.values()) if best is None else best

    def weighted(accuracy: float) -> float:
        return accuracy * min(1.0, math.exp(-penalty * (1 - accuracy / top))) if accuracy else 0.0

    area = start * first
    area += sum((b - a) * (weighted(y) + weighted(x)) / 2 for (a, x), (b, y) in pairwise(kept))
    return 100 * area
