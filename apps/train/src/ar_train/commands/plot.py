"""``ar-train plot``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_line import completed, terminal
from ar_core.command_result import CommandResult
from ar_core.errors import ConfigError

__all__ = ["EXAMPLES", "FIELDS", "plot"]

EXAMPLES = (
    "ar-train plot out",
    "ar-train plot out_a out_b --smooth 0.9 --output losses.svg",
    "ar-train plot out/metrics.jsonl --metric lr --no-evaluations",
    "ar-train plot out --metric tokens_per_s --json",
)
"""Calls that the help shows."""
FIELDS = {
    "metric, smooth": "what was drawn",
    "runs": "a list: name, file, points (step and value), smoothed, evaluations (by name, step and value)",
    "output": "the picture that was written; null without --output",
}
"""Of the JSON document, with what they mean."""


def plot(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or their metrics.jsonl.")],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            "-m",
            metavar="NAME",
            help="loss, lr, grad_norm, tokens_per_s, values.NAME ...: what a run records.",
            autocompletion=completed(
                ("loss", "lr", "grad_norm", "steps_per_s", "samples_per_s", "tokens_per_s", "peak_memory_mib")
            ),
        ),
    ] = "loss",
    smooth: Annotated[
        float,
        typer.Option("--smooth", "-s", metavar="W", help="Weight of what came before, in [0, 1); 0: as recorded."),
    ] = 0.0,
    evaluation: Annotated[
        list[str] | None, typer.Option("--evaluation", "-e", metavar="NAME", help="Of the evaluations; default: all.")
    ] = None,
    evaluations: Annotated[bool, typer.Option("--evaluations/--no-evaluations", help="Draw evaluations too.")] = True,
    logarithmic: Annotated[bool, typer.Option("--log", help="With --output: a logarithmic axis.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="SVG|PNG", help="Write a picture in the place of the terminal."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
) -> CommandResult:
    """Draw the loss, or another curve, of one or several runs, with their evaluations below."""
    from ..curves import read_run, smoothed

    if output is None and logarithmic:
        raise ConfigError("--log was given without --output, whose axis it changes: give both, or neither")
    if output is not None:
        from ..plot_to_file import require_drawable

        require_drawable(output)
        if output.exists() and not force:
            raise ConfigError(f"{str(output)!r} exists; give another --output or --force")
    wanted = (evaluation or None) if evaluations else []
    raw = [read_run(reference, metric, wanted) for reference in runs]
    if len({run.name for run in raw}) < len(raw):
        raw = [replace(run, name=reference) for run, reference in zip(raw, runs, strict=True)]
    shown = [replace(run, metric=smoothed(run.metric, smooth)) for run in raw]
    data = {
        "metric": metric,
        "smooth": smooth,
        "runs": [
            {
                "name": run.name,
                "file": run.path,
                "points": list(zip(run.metric.steps, run.metric.values, strict=True)),
                "smoothed": list(zip(after.metric.steps, after.metric.values, strict=True)),
                "evaluations": {
                    name: list(zip(curve.steps, curve.values, strict=True)) for name, curve in run.evaluations.items()
                },
            }
            for run, after in zip(raw, shown, strict=True)
        ],
        "output": output,
    }
    if output is not None:
        from ..plot_to_file import plot_to_file

        plot_to_file(shown, raw, metric, output, logarithmic=logarithmic)
        return CommandResult("", data, notes=[f"written to {output}"])
    from ..plot_in_terminal import plot_in_terminal

    console = terminal()
    colours = console.is_terminal and not console.no_color
    width = min(console.width, 120) if console.is_terminal else 100
    return CommandResult("", data, renderable=plot_in_terminal(shown, metric, width=width, colours=colours))
