"""The report's section on all methods: what ran live, and apart from it what was recorded."""

import html
from collections.abc import Sequence

from ar_decode.replay import fragment

from .chart import Series, line_chart
from .markup import table
from .methods_act import BASELINE, LiveAnswer, MethodsAct
from .recorded import RecordedRow

__all__ = ["methods_section", "recorded_rows"]

LIVE_HEAD = (
    "live",
    "problem",
    "answer",
    "tokens",
    "forward passes",
    "tokens per forward",
    "tokens/s",
    "same tokens as AR",
)
RECORDED_HEAD = (
    "recorded",
    "settings",
    "exact answers",
    "tokens per forward",
    "speed against AR",
    "same tokens as AR",
    "problems",
)


def methods_section(act: MethodsAct, recorded: Sequence[RecordedRow]) -> str:
    """The section, without the heading of the act that it belongs to."""
    live = [[title, *_cells(answer)] for title, answers in act.answers.items() for answer in answers]
    marks = ["base" if row[0] == BASELINE else "warn" if row[2] == "wrong" else "" for row in live]
    problems = "".join(f"<li><code>{html.escape(scene.prompt.strip())}</code></li>" for scene in act.scenes)
    return f"""
<h3>Four methods, two problems each, live</h3>
<p>The same model again. Fast-dLLM v2 and Efficient-DLM convert it: it fills blocks of masked tokens, and answers may change.
Jacobi Forcing trains it to guess well ahead of itself, and DiffuSpec leaves it alone and lets a converted copy draft: these two are
lossless, every token is the one that the model itself would have written, which was checked just now.</p>
<ol>{problems}</ol>
{table(LIVE_HEAD, live, marks)}
{_notes(act)}
<p class="dim">The first two held-out problems. Two problems say what a method does, not how good it is: that stands under
<em>recorded</em>. The last column compares lossless methods with their own model, one token per pass: for Jacobi Forcing the trained one, for DiffuSpec the base.</p>
{fragment(act.scenes, element_id="replay-methods")}
{_recorded(recorded)}"""


def recorded_rows(rows: Sequence[RecordedRow]) -> list[list[str]]:
    """Cells of the recorded rows, under ``RECORDED_HEAD``."""
    return [
        [
            row.method,
            row.name,
            "as AR" if row.accuracy is None else f"{100 * row.accuracy:.1f} %",
            f"{row.tokens_per_forward:.2f}",
            f"{row.speed:.2f} ×",
            "" if row.identical is None else f"{100 * row.identical:.4g} %",
            str(row.problems),
        ]
        for row in rows
    ]


def _cells(answer: LiveAnswer) -> list[str]:
    stats = answer.stats
    drafts = "" if answer.drafter_forwards is None else f" + {answer.drafter_forwards} of the drafter"
    return [
        answer.problem.task.replace("_", " "),
        "right" if answer.right else "wrong",
        str(sum(stats.generated)),
        f"{stats.nfe}{drafts}",
        f"{stats.tokens_per_forward:.2f}",
        f"{stats.tokens_per_second:,.0f}",
        "" if not answer.lossless else "yes" if answer.tie is None else f"up to a near tie, {answer.tie}",
    ]


def _notes(act: MethodsAct) -> str:
    return "".join(
        f"<p>{html.escape(title)} could not be shown: this installation lacks {html.escape(', '.join(names))}.</p>"
        for title, names in act.missing.items()
    )


def _recorded(rows: Sequence[RecordedRow]) -> str:
    if not rows:
        return '<p class="dim">No recorded figures come with this installation.</p>'
    shown = [row for row in rows if row.live or row.method == BASELINE]
    sources = {(row.source, row.date, row.device): None for row in rows}
    listed = "".join(
        f"<li><code>{html.escape(source)}</code>: {html.escape(date)}, {html.escape(device)}</li>"
        for source, date, device in sources
    )
    return f"""
<h3>Recorded, not measured just now</h3>
<p>The same models on many more problems, as the benchmarks of the repository measured them: other problems, another time, perhaps
another machine. Rows with the settings that ran live above:</p>
{table(RECORDED_HEAD, recorded_rows(shown), ["base" if row.method == BASELINE else "" for row in shown])}
<figure>{_chart(rows)}<figcaption>Recorded: exact answers against tokens per forward pass of the model that writes, all settings. Up and
to the right is better. DiffuSpec was only compared with the base, token by token: where all outputs are the base's, so is their
share of exact answers. Passes of a drafter are not counted here; the speed column counts everything.</figcaption></figure>
<details><summary>All recorded rows, and where they come from</summary>
{table(RECORDED_HEAD, recorded_rows(rows), ["base" if row.method == BASELINE else "" for row in rows])}
<ul>{listed}</ul></details>"""


def _chart(rows: Sequence[RecordedRow]) -> str:
    base = next((row.accuracy for row in rows if row.method == BASELINE), None)
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        accuracy = base if row.accuracy is None and row.identical == 1 else row.accuracy
        if row.method != BASELINE and accuracy is not None:
            points.setdefault(row.method, []).append((row.tokens_per_forward, accuracy))
    series = [Series(method, sorted(found)) for method, found in points.items()]
    if base is not None:
        widest = max(row.tokens_per_forward for row in rows)
        series.append(Series(BASELINE, [(1.0, base), (widest, base)], dashed=True))
    return line_chart(
        series,
        x_label="generated tokens per forward pass",
        y_label="exact answers",
        percent=True,
        title="recorded figures",
    )
