"""Curves of runs, read from their metrics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ar_core.config import did_you_mean, expand_path
from ar_core.errors import ConfigError, DataError
from ar_core.json_text import parse_json

__all__ = ["METRICS", "Curve", "RunCurves", "read_run", "smoothed"]

METRICS = "metrics.jsonl"
"""What a run writes its numbers to."""


@dataclass(frozen=True)
class Curve:
    """Numbers of a run by its optimiser steps.

    Attributes:
        steps: ascending.
        values: one for each; finite.
    """

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class RunCurves:
    """What is drawn of a run.

    Attributes:
        name: told apart from those of other runs.
        path: its metrics.
        metric: its training curve.
        evaluations: by name, the numbers of its evaluations.
    """

    name: str
    path: Path
    metric: Curve
    evaluations: Mapping[str, Curve] = field(default_factory=dict)


def read_run(reference: str, metric: str, evaluations: Sequence[str] | None = None) -> RunCurves:
    """Read the metrics of a run.

    Args:
        reference: the run's ``checkpoint_dir``, or its ``metrics.jsonl``.
        metric: a number of its records, such as ``loss``, ``lr`` or ``values.ce``.
        evaluations: which numbers of its evaluations; None for all.

    Raises:
        DataError: there are no metrics, or a line is none.
        ConfigError: no record has the metric, or no evaluation the number.
    """
    path = expand_path(reference)
    path = path / METRICS if path.is_dir() else path
    records = _records(path)
    training = [_flat(record) for record in records if "evaluation" not in record]
    evaluated = [(record["step"], record["evaluation"]) for record in records if "evaluation" in record]
    known = list(dict.fromkeys(name for record in training for name in record if name != "step"))
    if metric not in known:
        raise ConfigError(f"the run {reference!r} has no metric {metric!r}; {did_you_mean(metric, known)}")
    found = dict.fromkeys(name for _, numbers in evaluated for name in numbers)
    for name in evaluations or ():
        if name not in found:
            raise ConfigError(f"the evaluations of {reference!r} have no {name!r}; {did_you_mean(name, found)}")
    return RunCurves(
        path.parent.name or str(path),
        path,
        _curve([(int(record["step"]), record.get(metric)) for record in training]),
        {
            name: _curve([(step, numbers.get(name)) for step, numbers in evaluated])
            for name in (found if evaluations is None else evaluations)
        },
    )


def smoothed(curve: Curve, weight: float) -> Curve:
    """Return the exponential moving average of a curve, without bias towards its start.

    Args:
        curve: to smooth.
        weight: of what came before, in [0, 1); 0 leaves the curve as it is.

    Raises:
        ConfigError: the weight is out of range.
    """
    if not 0 <= weight < 1:
        raise ConfigError(f"--smooth is {weight}; give a weight of at least 0 and below 1, for example 0.9")
    total, mean, values = 0.0, 0.0, []
    for value in curve.values:
        total = weight * total + (1 - weight)
        mean = weight * mean + (1 - weight) * value
        values.append(mean / total)
    return Curve(curve.steps, tuple(values))


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"there are no metrics {str(path)!r} to read ({error}); give the checkpoint_dir of a run, or its {METRICS}"
        ) from error
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line)
            if not isinstance(record["step"], int) or not isinstance(record.get("evaluation", {}), dict):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                # A run that goes on, or that was killed, is amid its last line.
                break
            raise DataError(f"line {number} of {str(path)!r} is no record of a run; give its {METRICS}") from error
        records.append(record)
    if not records:
        raise DataError(f"{str(path)!r} holds no record yet; wait for the first, or lower train.log_every")
    return records


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers by name, those of a group as ``group.name``."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
    return found


def _curve(points: Sequence[tuple[int, Any]]) -> Curve:
    kept = [(step, float(value)) for step, value in points if isinstance(value, (int, float)) and math.isfinite(value)]
    return Curve(tuple(step for step, _ in kept), tuple(value for _, value in kept))
