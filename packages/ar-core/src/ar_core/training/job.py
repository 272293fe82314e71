"""What a training run is given, and what it hands back."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from .objective import Objective

__all__ = ["Job", "Source", "TrainResult"]


class Source(Protocol):
    """The samples of a run, numbered from 0; ``ar_core.data.SampleSource`` is the one for text."""

    def open(self, start: int) -> Iterator[Mapping[str, Any]]:
        """Yield the samples of the run from number ``start`` on, without end; a pure function of ``start``.

        Each is a dict whose ``index`` is its number in the run, which never repeats: noise is drawn from it.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the data, JSON-able; a resumed run must find the same."""
        ...


@dataclass(frozen=True)
class Job:
    """Everything that is particular to a run, already built.

    Args:
        objective: What is minimised.
        models: Models by the names that ``objective.players()`` uses, frozen companions included. Parameters of a
            player's models that do not require grad stay as they are and are not saved (LoRA bases).
        source: The samples.
        save: Writes the trained model, in the layout its users load, to the given directory. Called once, at the end.
        evaluate: Measures the models as they are and returns named numbers. The loop puts them in eval mode for it.
        identity: Settings beyond data and ``TrainConfig`` that define the run, JSON-able; a resumed run must have the
            same.
    """

    objective: Objective
    models: Mapping[str, nn.Module]
    source: Source
    save: Callable[[Path], None] | None = None
    evaluate: Callable[[], Mapping[str, float]] | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        losses: Loss of every step that this process ran, first to last.
        step: Optimiser steps that the weights have seen, those before a resume included.
        resumed_from: Step of the checkpoint it continued from; None for a fresh start.
        interrupted: True if a signal ended it before the last step.
        evaluation: Numbers of the last evaluation; empty if there was none.
    """

    losses: list[float]
    step: int
    resumed_from: int | None = None
    interrupted: bool = False
    evaluation: Mapping[str, float] = field(default_factory=dict)
