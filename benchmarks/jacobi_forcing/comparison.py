"""What Jacobi Forcing did to one model, read from its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Comparison", "Forwards", "compared", "forwards"]

ONE, TWO = "Jacobi, K=1", "multi-block, K=2"


@dataclass(frozen=True)
class Forwards:
    """On how many problems a decoder needs fewer, as many or more forwards than another."""

    fewer: int
    equal: int
    more: int


@dataclass(frozen=True)
class Comparison:
    """One trained model against its base, with blocks of one length.

    Attributes:
        seed: of the base.
        accuracy: exact answers of AR: of the base, of the control if there is one, and of the model.
        tokens_per_forward: of plain Jacobi decoding: the base's and the model's.
        forwards: of two blocks in flight against one, on the trained model.
        promoted: blocks, with two in flight.
    """

    seed: int
    accuracy: tuple[float, float | None, float]
    tokens_per_forward: tuple[float, float]
    forwards: Forwards
    promoted: int

    @property
    def points(self) -> float:
        """Change of the accuracy of AR in points."""
        return 100 * (self.accuracy[2] - self.accuracy[0])

    @property
    def ratio(self) -> float:
        """Tokens per forward after over before."""
        return self.tokens_per_forward[1] / self.tokens_per_forward[0]

    def cells(self) -> list[str]:
        """The figures as a table shows them."""
        counts = self.forwards
        return [
            *("" if share is None else f"{100 * share:.1f} %" for share in self.accuracy),
            f"{self.points:+.1f}",
            *(f"{value:.2f}" for value in self.tokens_per_forward),
            f"{self.ratio:.2f}",
            f"{counts.fewer}, {counts.equal}, {counts.more}",
            str(self.promoted),
        ]


def compared(result: dict[str, Any], model: str, block_length: int) -> Comparison:
    """Hold a trained model against the base of the same results."""
    rows = {(row["model"], row["decoder"], row.get("block_length")): row for row in result["rows"]}
    control = rows.get(("control", "AR", None))
    one, two = rows[model, ONE, block_length], rows[model, TWO, block_length]
    return Comparison(
        seed=result["seed"],
        accuracy=(
            rows["base", "AR", None]["accuracy"],
            None if control is None else control["accuracy"],
            rows[model, "AR", None]["accuracy"],
        ),
        tokens_per_forward=(rows["base", ONE, block_length]["tokens_per_forward"], one["tokens_per_forward"]),
        forwards=forwards(two["forwards_by_problem"], one["forwards_by_problem"]),
        promoted=two["promoted"],
    )


def forwards(these: Sequence[int], others: Sequence[int]) -> Forwards:
    """Compare forwards problem by problem, in the same order."""
    pairs = list(zip(these, others, strict=True))
    return Forwards(sum(a < b for a, b in pairs), sum(a == b for a, b in pairs), sum(a > b for a, b in pairs))
