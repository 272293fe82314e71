"""How students are sampled from. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.errors import ConfigError

from .flow.config import FlowSolver

__all__ = ["DistilledOptions"]


@dataclass(frozen=True, kw_only=True)
class DistilledOptions:
    """How a student is sampled from.

    Raises:
        ConfigError: a value is out of range, or a setting that distillation has fixed is given.
    """

    timesteps: tuple[int, ...] | None = None
    """t of each pass: units that are clean at the input. ``[0]`` is one pass; ``[0, 5]`` a second one, in which the first five units
    are those of the first pass. null: 0 alone."""
    split: int | None = None
    """The first so many units are read off the logits, the others off the continuous head; null: the student's own."""
    snap_outputs: bool = False
    """Take the nearest code of what the continuous head gives. Published code decodes the vectors as they are."""
    choice: Literal["argmax", "sample"] = "argmax"
    """Of a code from its logits. ``sample`` is for models whose input noise says nothing of the codes: each code by itself."""
    teacher_start: int | None = None
    """a: the teacher draws units a to t again, t being the second of the timesteps, between the two passes. At 0 it draws all of them,
    and the first pass is left out. null: no teacher."""
    teacher_draw: Literal["flow", "sample"] = "flow"
    """``flow``: by the teacher's flow from the same noise, so that images stay functions of it; ``sample``: by chance."""
    solver: FlowSolver = field(default_factory=FlowSolver)
    """Of the teacher's flow."""
    guidance: float | None = None
    """Not to be set: it is part of the pairs that the student was trained on."""

    def __post_init__(self) -> None:
        if self.guidance is not None:
            raise ConfigError(
                f"guidance {self.guidance} was asked of a distilled student, whose guidance was fixed when its pairs were made: leave "
                "it out, or make pairs with another and train anew"
            )
        if self.timesteps is not None:
            steps = list(self.timesteps)
            if not steps or steps[0] != 0 or steps != sorted(set(steps)):
                raise ConfigError(
                    f"timesteps are {steps}; give 0 and, ascending, further numbers of units, such as [0, 5]"
                )
        if self.choice not in ("argmax", "sample") or self.teacher_draw not in ("flow", "sample"):
            raise ConfigError(
                f"choice is {self.choice!r} and teacher_draw {self.teacher_draw!r}; choose argmax or sample, and flow or sample"
            )
        if self.teacher_start is not None:
            steps = list(self.timesteps or ())
            if len(steps) != 2 or not 0 <= self.teacher_start < steps[1]:
                raise ConfigError(
                    f"teacher_start is {self.teacher_start} and timesteps are {steps}: give two timesteps, [0, t], and a start below t"
                )
