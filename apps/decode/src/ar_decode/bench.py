"""A method against AR: same engine, same prompts, interleaved runs, both in their fastest setting."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from ar_core.config import to_dict
from ar_core.decoding import DecodeStats
from ar_core.decoding.collapse import Collapse, collapse_columns
from ar_core.verification import PassCost, first_difference
from rich.table import Table
from rich.text import Text

from .methods import Generation, Method
from .prompts import Prompt
from .session import Session

__all__ = ["Arm", "agreement", "bench", "bench_table", "fastest_dtype", "pass_cost_report"]


@dataclass
class Arm:
    """One side of the comparison.

    Attributes:
        session: the model in this arm's dtype.
        method: how it decodes.
        seconds: wall clock of each run over all prompts, decoding only.
        stats: of the first run; the counters are the same in all.
        outputs: ids per prompt, of the first run.
        finish: why each output ended.
        categories: statistics of the first run by category.
    """

    session: Session
    method: Method
    seconds: list[float] = field(default_factory=list)
    stats: DecodeStats = field(default_factory=DecodeStats)
    outputs: list[list[int]] = field(default_factory=list)
    finish: list[str] = field(default_factory=list)
    categories: dict[str, DecodeStats] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second of the fastest run."""
        return sum(self.stats.generated) / min(self.seconds)

    def run(self, prompts: Sequence[tuple[Prompt, list[int]]], generation: Generation, batch_size: int) -> None:
        """Decode all prompts once and note the time; the first run is also kept."""
        first = not self.seconds
        begun, elapsed = 0, 0.0
        for category, rows in _batches(prompts, batch_size):
            start = time.perf_counter()
            decoded = self.method.decode(self.session, rows, generation, first_index=begun)
            elapsed += time.perf_counter() - start
            begun += len(rows)
            if first:
                self.stats = self.stats + decoded.stats
                self.categories[category] = self.categories.get(category, DecodeStats()) + decoded.stats
                self.outputs += decoded.tokens
                self.finish += decoded.finish
        self.seconds.append(elapsed)

    @property
    def collapse(self) -> Collapse:
        """Degeneration measures of the outputs."""
        return collapse_columns(self.outputs, self.finish)

    def to_dict(self) -> dict[str, Any]:
        """Everything about the arm but the outputs, JSON-able."""
        return {
            "method": self.method.describe(),
            **self.session.runs_as,
            "generated_tokens": sum(self.stats.generated),
            "nfe": self.stats.nfe,
            "forwards": dict(self.stats.forwards),
            "tokens_per_forward": self.stats.tokens_per_forward,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "accepted": {str(tokens): count for tokens, count in sorted(self.stats.accepted.items())},
            "drafts": self.stats.drafts(),
            "collapse": asdict(self.collapse),
            "tokens_per_forward_by_category": {
                name: stats.tokens_per_forward for name, stats in sorted(self.categories.items())
            },
        }


def bench(
    baseline: Arm,
    candidate: Arm,
    prompts: Sequence[tuple[Prompt, list[int]]],
    generation: Generation,
    *,
    rounds: int,
    batch_size: int,
    progress: Any,
) -> dict[str, Any]:
    """Run both arms in turn, ``rounds`` times after one untimed prompt each, and compare the minima.

    Args:
        baseline: AR.
        candidate: the method.
        prompts: with their ids; rows of one batch are of one category.
        generation: length and sampling of both.
        rounds: ≥ 1; passes of fixed shapes are run twice before; the order of the arms alternates, so that a drifting machine favours neither.
        batch_size: prompts decoded together.
        progress: called with no argument after each run.

    Returns:
        JSON-able: both arms, ``speedup`` (ratio of tokens per second at the minima) and ``collapsed``. Of greedy runs also
        ``identical`` (outputs equal to AR's, as a share) and ``first_differences`` (of the others; ``margin`` is how much the
        logit of the token found falls short of AR's best, ``None`` if an output ended there without a stop token: a lossless
        method differs only where it is within the rounding of the dtype).
    """
    warm_up = Generation(min(8, generation.max_new_tokens))
    for arm in (baseline, candidate):
        if arm.session.engine == "plain":
            arm.method.decode(arm.session, [prompts[0][1]], warm_up)
            continue
        # Passes of fixed shapes are captured or compiled when they come for the second time.
        for _ in range(2):
            Arm(arm.session, arm.method).run(prompts, generation, batch_size)
    for round_ in range(rounds):
        for arm in (baseline, candidate) if round_ % 2 == 0 else (candidate, baseline):
            arm.run(prompts, generation, batch_size)
            progress()
    agreed = agreement(baseline, candidate, prompts) if generation.temperature == 0 else {}
    return {
        "baseline": baseline.to_dict(),
        "candidate": candidate.to_dict(),
        "speedup": candidate.tokens_per_second / baseline.tokens_per_second,
        **agreed,
        "collapsed": candidate.collapse.collapsed(baseline.collapse),
        "rounds": rounds,
        "batch_size": batch_size,
    }


def pass_cost_report(curves: Mapping[str, PassCost], baseline: str, candidate: str, tokens: int) -> dict[str, Any]:
    """What a parallel pass costs beside AR's own pass, as measured in this run.

    Args:
        curves: by dtype.
        baseline: AR's dtype.
        candidate: the method's dtype.
        tokens: of the method's typical pass.

    Returns:
        JSON-able: ``tokens``, ``ratio`` (of times, each side in its own dtype) and ``curve`` (the method's).
    """
    ratio = curves[candidate].time(tokens) / curves[baseline].time(1)
    return {"tokens": tokens, "ratio": ratio, "curve": to_dict(curves[candidate])}


def fastest_dtype(curves: Mapping[str, PassCost], tokens: int) -> str:
    """The dtype in which a pass of so many tokens takes least time."""
    return min(curves, key=lambda dtype: curves[dtype].time(tokens))


def bench_table(result: Mapping[str, Any]) -> Table:
    """The comparison for people."""
    arms = [result["baseline"], result["candidate"]]
    table = Table(title=f"{arms[1]['method']['name']} against AR", title_justify="left")
    table.add_column("")
    for arm in arms:
        table.add_column(f"{arm['method']['name']} ({arm['dtype']})", justify="right")
    rows = {
        "tokens per forward (TPF)": [f"{arm['tokens_per_forward']:.2f}" for arm in arms],
        "forward passes (NFE)": [str(arm["nfe"]) for arm in arms],
        "generated tokens": [str(arm["generated_tokens"]) for arm in arms],
        "tokens per second, best run": [f"{arm['tokens_per_second']:.1f}" for arm in arms],
        "distinct-3": [f"{arm['collapse']['distinct_3']:.3f}" for arm in arms],
        "longest repeated span": [f"{arm['collapse']['longest_repeated_span']:.1f}" for arm in arms],
        "EOS rate": [f"{arm['collapse']['eos_rate']:.2f}" for arm in arms],
        "mean length": [f"{arm['collapse']['mean_length']:.1f}" for arm in arms],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    table.add_section()
    table.add_row("speed against AR", "1.00", f"{result['speedup']:.2f}")
    cost = result["pass_cost"]
    table.add_row(f"cost of a pass of {cost['tokens']} tokens against AR's", "1.00", f"{cost['ratio']:.2f}")
    if "identical" in result:
        table.add_row("outputs identical to AR's", "", f"{100 * result['identical']:.0f} %")
    if result.get("first_differences"):
        margins = [difference["margin"] for difference in result["first_differences"]]
        largest = "no bound" if None in margins else f"{max(margins):.2g}"
        table.add_row("largest margin below AR's best logit at a first difference", "", largest)
    if result["collapsed"]:
        table.caption = Text.assemble(
            ("collapsed", "bold red"), ": distinct-3 is below 0.9 × AR's, the speed does not count"
        )
    return table


def agreement(
    baseline: Arm, candidate: Arm, prompts: Sequence[tuple[Prompt, list[int]]]
) -> dict[str, float | list[dict[str, Any]]]:
    """Hold the outputs of an arm against those of a baseline on the same model, both greedy.

    Returns:
        ``identical``, the share of equal outputs, and ``first_differences`` of the others; see :func:`bench`.
    """
    session = baseline.session
    differences = []
    for (prompt, ids), a, b in zip(prompts, baseline.outputs, candidate.outputs, strict=True):
        found = first_difference(session.backbone, ids, a, b, stop_ids=session.stop_ids, banned_ids=session.banned_ids)
        if found is not None:
            margin = found.margin if math.isfinite(found.margin) else None
            differences.append({"id": prompt.id, **asdict(found), "margin": margin})
    return {"identical": 1 - len(differences) / len(prompts), "first_differences": differences}


def _batches(prompts: Sequence[tuple[Prompt, list[int]]], size: int) -> Iterator[tuple[str, list[list[int]]]]:
    for category, group in groupby(prompts, key=lambda pair: pair[0].category):
        rows = [ids for _, ids in group]
        for start in range(0, len(rows), size):
            yield category, rows[start : start + size]
