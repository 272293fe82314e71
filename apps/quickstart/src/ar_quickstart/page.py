"""The report: one self-contained HTML page."""

import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from ar_decode.replay import fragment

from .chart import Series, line_chart
from .markup import cards, table
from .methods_act import MethodsAct
from .methods_page import methods_section
from .model_act import BASELINE as MODEL_BASELINE
from .model_act import ModelAct
from .recorded import RecordedRow
from .task_act import BASELINE, LIVE_THRESHOLD, TaskAct

__all__ = ["render_page"]

COLLAPSE = ("distinct-3", "longest repeat", "ended", "mean length")


def render_page(
    task: TaskAct,
    methods: MethodsAct,
    model: ModelAct | None,
    environment: Mapping[str, Any],
    seconds: float,
    *,
    recorded: Sequence[RecordedRow],
    offline: bool,
) -> str:
    """The whole page.

    Args:
        task: act 1.
        methods: act 1 too: all methods on its model.
        model: act 2; None leaves it out.
        environment: of ``ar_core.environment``, for the last line.
        seconds: wall clock of everything.
        recorded: figures that came with the package, shown apart from what ran.
        offline: nothing could be fetched from a network on the way.
    """
    body = _task_section(task) + methods_section(methods, recorded)
    if model is not None:
        body += _model_section(model)
    device, versions = environment["device"], environment["versions"]
    footer = (
        f"{html.escape(environment['command'])} on {html.escape(str(device['name']))}, {device['threads']} threads, "
        f"{html.escape(environment['date'])}, {seconds:.0f} s in all. "
        + html.escape(", ".join(f"{name} {version}" for name, version in versions.items() if version))
        + (
            ". No request was made to any network, and this page makes none."
            if offline
            else ". This page makes no request."
        )
    )
    template = files("ar_quickstart").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(body=body, footer=footer)


def _task_section(act: TaskAct) -> str:
    base = act.scores[BASELINE]
    shown = act.scores[f"converted, threshold {LIVE_THRESHOLD}"]
    figures = cards(
        [
            (
                f"{shown.stats.tokens_per_forward:.2f}",
                f"tokens per forward pass after conversion (AR: {base.stats.tokens_per_forward:.2f})",
            ),
            (f"{100 * shown.accuracy:.1f} %", f"exact answers (AR: {100 * base.accuracy:.1f} %)"),
            (f"{base.seconds / shown.seconds:.2f} ×", "as fast as AR, one problem at a time"),
        ]
    )
    rows = [
        [
            name,
            f"{100 * score.accuracy:.1f} ± {100 * score.standard_error:.1f} %",
            f"{score.stats.tokens_per_forward:.2f}",
            f"{score.stats.tokens_per_second:,.0f}",
            f"{_speed(base) and _speed(score) / _speed(base):.2f} ×",
        ]
        for name, score in act.scores.items()
    ]
    marks = ["base" if name == BASELINE else "warn" if name.startswith("not") else "" for name in act.scores]
    tasks = sorted(base.asked)
    by_task = [
        [name, *(f"{100 * score.solved[task] / score.asked[task]:.0f} %" for task in tasks)]
        for name, score in act.scores.items()
    ]
    return f"""
<h2>1. What conversion does</h2>
<p>A model of {act.parameters / 1e6:.2f} million parameters solves arithmetic with a written scratchpad, word problems, and
records to be returned as JSON. An answer counts if every character is right. The model was trained autoregressively, then
converted with Fast-dLLM v2: it now fills blocks of masked tokens, keeps those it is sure of, and tries the rest again.</p>
{figures}
{table(["", "exact answers", "tokens per forward", "tokens/s", "speed against AR"], rows, marks)}
<p class="dim">{base.problems} held-out problems, none of which can occur in training; ± is one standard error. Every pass counts:
prompt, denoising, and the passes that store finished blocks (fused with the first look at the next block). The decoders took
turns on each problem. The last row decodes the model in parallel <em>without</em> conversion: tokens per forward mean nothing
where the answers are wrong. Tiny models on regular tasks are a best case; these ratios do not carry over to large models.</p>
<details><summary>Exact answers by task</summary>{table(["", *(task.replace("_", " ") for task in tasks)], by_task, marks)}</details>
<h3>Pass by pass</h3>
{fragment(act.scenes, element_id="replay-task")}
<h3>A conversion, live</h3>
<p>The same autoregressive weights were converted once more while you waited, for {act.live[-1].step} steps in
{act.live_seconds:.0f} s, and solved {act.live_problems} held-out problems now and then at threshold {LIVE_THRESHOLD}.</p>
<div class="pair">
<figure>{_live(act, "accuracy")}<figcaption>Exact answers. At step 0 the autoregressive model is asked to fill in masks it has never
seen; a point has a standard error of up to {50 / act.live_problems**0.5:.0f} points.</figcaption></figure>
<figure>{_live(act, "tokens_per_forward")}<figcaption>Tokens per forward pass in the same answers. It falls first, when the model
unlearns to be sure of what is wrong, and rises with what it learns.</figcaption></figure>
</div>"""


def _live(act: TaskAct, what: str) -> str:
    points = [(float(point.step), float(getattr(point, what))) for point in act.live]
    share = what == "accuracy"
    base = act.scores[BASELINE]
    level = base.accuracy if share else base.stats.tokens_per_forward
    return line_chart(
        [
            Series(f"being converted, threshold {LIVE_THRESHOLD}", points),
            Series("AR", [(points[0][0], level), (points[-1][0], level)], dashed=True),
        ],
        x_label="steps",
        y_label="exact answers" if share else "tokens per forward",
        percent=share,
        width=470,
    )


def _model_section(act: ModelAct) -> str:
    totals = {name: act.total(name) for name in act.methods}
    base = totals[MODEL_BASELINE]
    rows = []
    for name, stats in totals.items():
        ties = sum(name in answer.near_ties for answer in act.answers)
        same = "" if name == MODEL_BASELINE else f"{len(act.answers) - ties} of {len(act.answers)}"
        rows.append(
            [
                name,
                same,
                f"{stats.tokens_per_forward:.2f}",
                f"{stats.tokens_per_second:.1f}",
                f"{stats.tokens_per_second / base.tokens_per_second:.2f} ×",
                *_collapse(act, name),
            ]
        )
    others = [name for name in act.methods if name != MODEL_BASELINE]
    per_prompt = [
        [
            f"{answer.prompt.category}: {answer.prompt.id}",
            str(sum(answer.stats[MODEL_BASELINE].generated)),
            *(f"{answer.stats[name].tokens_per_forward:.2f}" for name in act.methods),
            *(
                f"{answer.stats[name].tokens_per_second / answer.stats[MODEL_BASELINE].tokens_per_second:.2f} ×"
                for name in others
            ),
        ]
        for answer in act.answers
    ]
    tie_items = [
        f"<li>{html.escape(name)} on {html.escape(answer.prompt.id)}: {html.escape(str(difference))}</li>"
        for answer in act.answers
        for name, difference in answer.near_ties.items()
    ]
    noted = (
        f"<p>The outputs part at these steps, where rounding decides between two tokens of (almost) the same logit:</p><ul>{''.join(tie_items)}</ul>"
        if tie_items
        else ""
    )
    texts = "".join(
        f"<details><summary>{html.escape(answer.prompt.id)}</summary><pre>{html.escape(answer.prompt.text)}</pre>"
        f"<p class='dim'>The model:</p><pre>{html.escape(answer.text)}</pre></details>"
        for answer in act.answers
    )
    return f"""
<h2>2. A real model, losslessly</h2>
<p><strong>{html.escape(act.source)}</strong> in {act.dtype} answers {len(act.answers)} prompts with up to {act.new_tokens} tokens. Nothing was trained:
a proposer guesses the next tokens (copied from the context, or the model's own earlier guesses), one pass of the model judges
all of them, and only tokens that the model would have written are kept.</p>
{table(["", "same tokens as AR", "tokens per forward", "tokens/s", "speed against AR", *COLLAPSE], rows, ["base", *("" for _ in others)])}
{noted}
<p class="dim">Drafts pay where an answer repeats its prompt or itself. A pass over several tokens also costs more than one over a
single token on a CPU, so that more tokens per forward are not always more tokens per second: the speed column says which. The
columns behind it say whether text degenerates (distinct trigrams, longest repeated span, share of answers that end by
themselves, mean length in tokens); where all tokens are AR's, so are they.</p>
<details><summary>Prompt by prompt</summary>
{table(["", "tokens", *(f"{name}, per forward" for name in act.methods), *(f"{name}, speed" for name in others)], per_prompt, ["" for _ in per_prompt])}
</details>
<h3>Pass by pass</h3>
{fragment(act.scenes, element_id="replay-model")}
<h3>What it wrote</h3>
<p class="dim">A small model: what it says is not always true or correct. The decoders do not change it.</p>
{texts}"""


def _collapse(act: ModelAct, name: str) -> list[str]:
    found = act.collapse(name)
    return [
        f"{found.distinct_3:.3f}",
        f"{found.longest_repeated_span:.1f}",
        f"{100 * found.eos_rate:.0f} %",
        f"{found.mean_length:.1f}",
    ]


def _speed(score: Any) -> float:
    return float(score.stats.tokens_per_second)
