"""Command line: two acts, one report."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ar_core.command_line import add_command, run_program
from ar_core.command_result import CommandResult

if TYPE_CHECKING:
    from .methods_act import MethodsAct
    from .model_act import ModelAct
    from .task_act import TaskAct

__all__ = ["app", "main"]

app = typer.Typer(pretty_exceptions_enable=False)
"""The command `ar-quickstart`."""

DEFAULT_MODEL = "smollm2-135m-instruct"

EXAMPLES = (
    "ar-quickstart",
    "ar-quickstart --fast --out act1.html",
    "ar-quickstart --model ./model --new-tokens 128 --bf16",
    "ar-quickstart --fast --quiet --json > figures.json",
)
"""Calls that the help shows."""

FIELDS = {
    "report": "the page that was written",
    "seconds": "of everything",
    "task": "act 1, by decoder: accuracy, standard_error, tokens_per_forward, tokens_per_second",
    "live": "the live conversion: a list of step, accuracy, tokens_per_forward",
    "methods": "act 1, by method: problems, right, forwards, tokens_per_forward, same_tokens (null where that is not promised)",
    "model": "act 2, by method: prompts, same_tokens, tokens_per_forward, tokens_per_second; null with --fast",
    "environment": "command, date, commit, device, versions",
}
"""Of the JSON document, with what they mean."""


def quickstart(
    fast: Annotated[bool, typer.Option("--fast", help="Act 1 only: the tiny model.")] = False,
    model: Annotated[
        str, typer.Option(help="Act 2: a folder, hub id or GGUF file, or the installed wheel's name.")
    ] = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.html"),
    problems: Annotated[int, typer.Option(min=1, help="Held-out problems of the table in act 1.")] = 90,
    live_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of the live conversion.")] = 240,
    new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in act 2, in tokens.")] = 64,
    bf16: Annotated[bool, typer.Option("--bf16/--fp32", help="Act 2: precision of weights and passes.")] = False,
) -> CommandResult:
    """Watch models write several tokens per forward pass, beside autoregressive decoding, on this machine.

    Act 1 decodes problems with exact answers before and after conversion, converts the model again before your eyes, and
    lets all methods solve two problems each. Act 2 decodes a real model losslessly. Nothing is fetched from a network unless --model is a hub id.
    """
    from ar_decode.output import check_targets

    check_targets({"--out": out}, force=True)
    try:
        return _run(fast, model, out, problems, live_steps, new_tokens, bf16)
    except KeyboardInterrupt:
        typer.echo("stopped; no report was written", err=True)
        raise typer.Exit(130) from None


def _run(
    fast: bool, model: str, out: Path, problems: int, live_steps: int, new_tokens: int, bf16: bool
) -> CommandResult:
    offline = fast or model == DEFAULT_MODEL or Path(model).exists()
    if offline:
        # Without this, transformers asks the hub for optional files of local models.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from ar_core.command_line import terminal
    from ar_core.environment import environment
    from ar_core.quiet import is_quiet
    from ar_decode.output import write_text
    from ar_decode.progress import job_progress

    console = terminal()
    console.quiet = is_quiet()
    begun = time.perf_counter()
    loaded = None
    if not fast:
        # First, so that a model that cannot be loaded is reported before minutes have passed.
        from .model_act import METHODS, count_prompts, load_model, run_model_act

        loaded = load_model(model, torch.bfloat16 if bf16 else torch.float32)
    console.print("Act 1  a tiny model, before and after conversion", style="bold")
    from .figures import figures
    from .methods_act import run_methods_act
    from .page import render_page
    from .recorded import read_recorded
    from .task_act import ARMS, run_task_act

    with job_progress() as bar:
        solving = bar.add_task("solving problems", total=problems * ARMS)
        task = run_task_act(
            problems=problems,
            live_steps=live_steps,
            live_problems=24,
            tick=lambda: bar.advance(solving),
            report=console.print,
        )
    _show_task(console, task)
    methods = run_methods_act()
    _show_methods(console, methods)
    act = None
    if loaded is not None:
        console.print(f"\nAct 2  {model}, losslessly", style="bold")
        with job_progress() as bar:
            answering = bar.add_task("answering prompts", total=count_prompts() * METHODS)
            act = run_model_act(loaded, new_tokens=new_tokens, tick=lambda: bar.advance(answering))
        _show_model(console, act)
    seconds = time.perf_counter() - begun
    where = environment("cpu")
    page = render_page(task, methods, act, where, seconds, recorded=read_recorded().rows, offline=offline)
    write_text(out, page)
    return CommandResult(
        f"\n{seconds:.0f} s in all. Open {out} for tables, curves and a replay pass by pass.",
        {"report": out, "seconds": seconds, **figures(task, methods, act), "environment": where},
    )


def _show_task(console: Any, act: "TaskAct") -> None:
    table = _table("", "exact answers", "tokens/forward", "tokens/s")
    for name, score in act.scores.items():
        table.add_row(
            name,
            f"{100 * score.accuracy:.1f} ± {100 * score.standard_error:.1f} %",
            f"{score.stats.tokens_per_forward:.2f}",
            f"{score.stats.tokens_per_second:.0f}",
        )
    console.print(table)


def _show_methods(console: Any, act: "MethodsAct") -> None:
    table = _table("two problems", "right", "passes", "of a drafter", "tokens/forward", "same tokens")
    for title, answers in act.answers.items():
        drafts = [answer.drafter_forwards for answer in answers if answer.drafter_forwards is not None]
        stats = act.total(title)
        table.add_row(
            title,
            f"{sum(answer.right for answer in answers)}/{len(answers)}",
            str(stats.nfe),
            str(sum(drafts)) if drafts else "",
            f"{stats.tokens_per_forward:.2f}",
            f"{sum(answer.tie is None for answer in answers)}/{len(answers)}" if answers[0].lossless else "",
        )
    console.print(table)
    for title, names in act.missing.items():
        console.print(f"  {title}: not shown, this installation lacks {', '.join(names)}")


def _show_model(console: Any, act: "ModelAct") -> None:
    table = _table("", "same tokens", "tokens/forward", "tokens/s")
    for name in act.methods:
        stats = act.total(name)
        same = sum(name not in answer.near_ties for answer in act.answers)
        table.add_row(
            name, f"{same}/{len(act.answers)}", f"{stats.tokens_per_forward:.2f}", f"{stats.tokens_per_second:.1f}"
        )
    console.print(table)
    for answer in act.answers:
        for name, difference in answer.near_ties.items():
            console.print(f"  near tie: {name} on {answer.prompt.id}, {difference}")


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


add_command(app, quickstart, examples=EXAMPLES, fields=FIELDS)


def main() -> None:
    """Run the command line; input that cannot be used is one sentence and exit code 2."""
    run_program(app, "ar-quickstart")
