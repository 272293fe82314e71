"""Agreement first, then memory and time of an arm beside the one that it is compared with; results as a table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol

import torch
from ar_core.errors import BackendError

from ..timing import interleaved, peak_bytes
from .arms import PUBLISHED, Arm, arms_of
from .attention_alone import AttentionAlone
from .parts import Part
from .step import Step

__all__ = ["Case", "cases_of", "markdown_table", "measured"]


class Work(Protocol):
    """What arms compute.

    Attributes:
        what: its name.
        launches: whether the time until its kernels run counts on CUDA.
        held_bytes: what lies on the device all the time.
        limits: largest difference by name.
    """

    what: str
    launches: bool
    held_bytes: int
    limits: Mapping[str, float]

    def against(self, arm: Arm) -> Arm:
        """The arm that one is compared with."""
        ...

    def agreement(self, arm: Arm) -> tuple[dict[str, float], dict[str, int]]:
        """Differences from that arm by name, and how many T x T tensors were made, by arm."""
        ...

    def __call__(self, arm: Arm) -> None:
        """Do it once."""
        ...


@dataclass(frozen=True)
class Case:
    """An arm of some work.

    Attributes:
        what: name of the work.
        work: makes it; called when it is measured.
        arm: how it is done.
    """

    what: str
    work: Callable[[], Work]
    arm: Arm

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.what}, {self.arm.name}"


def cases_of(part: Part) -> Iterator[Case]:
    """All arms of a part; a model is made once, and only if one of its steps is measured."""
    arms = arms_of(part.backends)
    alone, step = cache(part.attention_alone), cache(part.step)
    yield from (Case(AttentionAlone.what, alone, arm) for arm in arms if arm != arm.dense)
    yield from (Case(Step.what, step, arm) for arm in arms if arm != PUBLISHED)


def measured(case: Case, *, repeats: int, device: str, ceiling: Mapping[str, float] | None) -> dict[str, Any]:
    """Measure one arm, unless it disagrees with the one that it is compared with.

    Args:
        case: which.
        repeats: timed rounds, of both arms in turn.
        device: where.
        ceiling: of the device; a step is not compared with it.

    Returns:
        JSON-able: ``not_run``, the reason if its backend is absent or refuses; ``error``, empty if both agree; then ``seconds``
        and ``peak_bytes`` (beyond ``held_bytes``) by arm, and ``times_as_fast`` and ``times_less_memory``, the other arm's
        minimum over this one's.
    """
    del ceiling
    work, arm = case.work(), case.arm
    other = work.against(arm)
    row: dict[str, Any] = {
        "name": case.name,
        "what": case.what,
        "arm": arm.name,
        "against": other.name,
        "not_run": "",
        "error": "",
    }
    if device.startswith("cuda"):
        # Kernels compiled for one layout would be compiled for any length by the next one.
        torch.compiler.reset()
    try:
        differences, squares = work.agreement(arm)
        row |= {"differences": differences, "tensors_of_T_x_T": squares}
        if problems := list(_problems(work.limits, differences, squares, other)):
            return {**row, "error": f"not timed: {'; '.join(problems)}"}
        runs = {one.name: partial(work, one) for one in (other, arm)}
        peaks = {name: peak_bytes(run, device) for name, run in runs.items()}
        # Both have run just now.
        seconds = interleaved(runs, repeats, device, dropped=0, launches=work.launches)
    except BackendError as refusal:
        return {**row, "not_run": str(refusal)}
    except torch.OutOfMemoryError:
        return {**row, "not_run": "it does not fit in the memory of the device"}
    best = {name: min(values) for name, values in seconds.items()}
    return {
        **row,
        "held_bytes": work.held_bytes,
        "seconds": seconds,
        "peak_bytes": peaks,
        "times_as_fast": round(best[other.name] / best[arm.name], 3),
        "times_less_memory": round(peaks[other.name] / max(1, peaks[arm.name]), 3),
    }


def _problems(
    limits: Mapping[str, float], differences: Mapping[str, float], squares: Mapping[str, int], other: Arm
) -> Iterator[str]:
    for name, difference in differences.items():
        # Not a number is no agreement.
        if not difference <= limits[name]:
            yield f"{name} off {other.name} by {difference:.1e}, allowed {limits[name]:.0e}"
    for name, number in squares.items():
        if (number > 0) != name.endswith("dense"):
            yield f"{name} made {number} tensors of T x T"


def markdown_table(results: Mapping[str, Any]) -> str:
    """One line an arm: how many times as fast as the one that it is compared with, and how much less memory it takes beyond
    weights and optimiser state, which are in the peak.

    Steps in the layout 3L get a second line, against dense steps in that layout: both were measured beside the same third.
    """
    lines = [
        "| what | arm | against | times as fast | times less memory | seconds, best of each | peak memory of each, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    done = {row["name"]: row for row in results["rows"] if "seconds" in row}
    for row in results["rows"]:
        start = f"| {row['what']} | {row['arm']} | {row['against']} |"
        if row["not_run"] or row["error"]:
            lines.append(f"{start} {row['error'] or 'not run: ' + row['not_run']} | | | |")
            continue
        seconds = " / ".join(f"{min(values):.3g}" for values in row["seconds"].values())
        memory = " / ".join(f"{(row['held_bytes'] + peak) / 1e9:.3g}" for peak in row["peak_bytes"].values())
        ratios = f"{row['times_as_fast']:.2f} | {row['times_less_memory']:.2f}"
        lines.append(f"{start} {ratios} | {seconds} | {memory} |")
        dense = f"{row['arm'].partition(',')[0]}, dense"
        beside = done.get(f"{row['what']}, {dense}")
        if beside is not None and beside is not row:
            ratios = " | ".join(f"{row[key] / beside[key]:.2f}" for key in ("times_as_fast", "times_less_memory"))
            lines.append(f"| {row['what']} | {row['arm']} | {dense} | {ratios} | | |")
    return "\n".join(lines) + "\n"
