"""The teachers, and the ways in which their students are sampled. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["AT_ONCE", "CONTROL", "CONTROL_NAME", "FLOW", "OTHER_NOISE", "SETUPS", "STUDENT", "TEACHER", "Setup"]

TEACHER = "teacher"
"""Name of the way that all others are held against: one pass a unit."""
FLOW = "teacher, by its flow from noise"
OTHER_NOISE = "teacher, by its flow from other noise"
"""What images of one text have in common: of texts alone."""
AT_ONCE = "teacher, all codes at once"
CONTROL_NAME = "control (c): no noise map, 1 pass"
"""The best factorised model."""
STUDENT = "student, 1 pass"

CONTROL = ("method.noise=fresh", "method.timesteps=[0]", "method.timestep_probs=null", "method.mse_weight=0")
"""What the control differs in: its noise says nothing of the codes, and all of its training is that of one pass."""


@dataclass(frozen=True)
class Setup:
    """A teacher and the measured ways of sampling from its student.

    Attributes:
        name: of the results.
        config: of both recipes.
        two: timesteps of two passes.
        three: of three; None: not sampled so.
        starts: units with which a teacher begins between the two passes.
        first: units that a teacher draws one by one before it draws the rest at once; 0 draws all at once.
        part: of ``benchmarks.images`` that is the teacher; None: that of the same name.
        texts: whether it is a teacher of texts.
    """

    name: str
    config: str
    two: tuple[int, int]
    three: tuple[int, int, int] | None
    starts: tuple[int, ...]
    first: tuple[int, ...]
    part: str | None = None
    texts: bool = False

    @property
    def students(self) -> Mapping[str, Mapping[str, Any]]:
        """Settings of the student's decoder by the name of the way; ``teacher`` is added where a teacher starts."""
        ways: dict[str, dict[str, Any]] = {STUDENT: {}, "student, 2 passes": {"timesteps": list(self.two)}}
        if self.three is not None:
            ways["student, 3 passes"] = {"timesteps": list(self.three)}
        ways["student, 1 pass, codes sampled"] = {"choice": "sample"}
        for start in self.starts:
            ways[f"student and teacher from unit {start}"] = {"timesteps": list(self.two), "teacher_start": start}
        return ways


SETUPS: Mapping[str, Setup] = MappingProxyType(
    {
        "var": Setup("var", "cifar10_var", (0, 3), (0, 3, 5), starts=(2, 1, 0), first=(0, 3, 4)),
        "llamagen": Setup("llamagen", "cifar10_llamagen", (0, 20), (0, 20, 40), starts=(15, 10, 0), first=(0, 32, 48)),
        "emoji": Setup(
            "emoji", "emoji_llamagen", (0, 20), None, starts=(0,), first=(), part="emoji_llamagen", texts=True
        ),
    }
)
