"""What distillation did to one model, read from its results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .setups import AT_ONCE, CONTROL_NAME, STUDENT, TEACHER

__all__ = ["ACCURACY", "FRECHET", "RECALL", "Comparison", "compared", "rows_of", "slower"]

RESNET20 = "resnet20-cifar10"
FRECHET, ACCURACY, RECALL = (f"{name}[{RESNET20}]" for name in ("frechet", "class_accuracy", "recall"))

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One number of the teacher, of the teacher with all codes at once, of the control, and of the student in one pass."""

    teacher: float
    at_once: float
    control: float
    student: float

    @property
    def closed(self) -> float:
        """Share of the way from the control to the teacher that the student has gone; above 1 it is beyond the teacher."""
        return _share(self.control, self.student, self.teacher)

    @property
    def closed_at_once(self) -> float:
        """The same from the teacher with all codes at once."""
        return _share(self.at_once, self.student, self.teacher)


def compared(results: Results, value: str = FRECHET) -> Comparison:
    """Read a value of the four."""
    rows = rows_of(results)
    return Comparison(*(rows[name]["values"][value] for name in (TEACHER, AT_ONCE, CONTROL_NAME, STUDENT)))


def rows_of(results: Results) -> dict[str, Mapping[str, Any]]:
    """Rows of the ways of sampling by name, without times."""
    return {row["name"]: row for row in results["rows"] if "values" in row}


def slower(results: Results, name: str, batch: int) -> float | None:
    """How many times as long as a way the teacher takes for a batch: the ratio of the fastest rounds; None where it was not timed."""
    for row in results["rows"]:
        if row.get("batch") == batch and name in row["seconds"]:
            return min(row["seconds"][TEACHER]) / min(row["seconds"][name])
    return None


def _share(start: float, reached: float, end: float) -> float:
    return (start - reached) / (start - end) if start != end else float("nan")
