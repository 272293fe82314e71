"""The ways of computing one training step that are held against each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["PUBLISHED", "Arm", "Views", "arms_of"]

Views = Literal["stacked", "shared"]

LABELS = {"sdpa": "dense", "triton": "kernel"}
"""What backends are called here, where that differs."""


@dataclass(frozen=True)
class Arm:
    """A layout of the two views of a sample, and a backend of attention.

    Attributes:
        views: `stacked` are two rows [view | clean] of 2L tokens, `shared` is one row of 3L with one clean stream.
        backend: of :func:`ar_core.attention.attend`.
    """

    views: Views
    backend: str

    @property
    def name(self) -> str:
        """Layout and backend."""
        return f"{'2 x 2L' if self.views == 'stacked' else '3L'}, {LABELS.get(self.backend, self.backend)}"

    @property
    def dense(self) -> "Arm":
        """The arm of the same layout that computes every score."""
        return Arm(self.views, "sdpa")


PUBLISHED = Arm("stacked", "sdpa")
"""What the others are compared with."""


def arms_of(backends: Sequence[str]) -> list[Arm]:
    """All arms of some backends, layout by layout."""
    return [Arm(views, backend) for views in get_args(Views) for backend in backends]
