"""``ar-decode verify``."""

from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_result import CommandResult

from ..arguments import (
    DeviceOption,
    DtypeOption,
    EngineOption,
    ForceOption,
    ModelArgument,
    ThreadsOption,
    WeightsOption,
)

__all__ = ["EXAMPLES", "FIELDS", "verify"]

EXAMPLES = (
    "ar-decode verify smollm2-135m-instruct",
    "ar-decode verify ./model --dtype float64 --output report.md",
    "ar-decode verify owner/name --output report.json",
)
"""Calls that the help shows."""

FIELDS = {
    "passed": "whether every check holds; else the exit code is 1",
    "checks": "a list: name, prompt, passed, detail",
    "model, revision, dtype": "what was loaded",
    "prompts, new_tokens": "ids of the five prompts, tokens that were generated for each",
    "config": "of the model, as its checkpoint has it",
    "environment": "command, date, commit, device, versions",
}
"""Of the JSON document, with what they mean."""


def verify(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="*.json for programs, else Markdown; default: print Markdown."
        ),
    ] = None,
    new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n", min=1, metavar="N", help="Per prompt.")] = 24,
    dtype: DtypeOption = "stored",
    device: DeviceOption = "cpu",
    engine: EngineOption = "plain",
    weights: WeightsOption = "full",
    threads: ThreadsOption = None,
    force: ForceOption = False,
) -> CommandResult:
    """Check that a model decodes correctly here: cached = uncached, block size 1 = AR, lookup = AR, on five prompts.

    Loads strictly, and writes a report fit for a bug tracker. Exit code 1 if a check fails.
    """
    from ..output import check_targets, write_text

    check_targets({"--output": output}, force=force)
    from ..session import load_session
    from ..verify import verify as run

    report = run(
        load_session(model, dtype=dtype, device=device, engine=engine, weights=weights, threads=threads),
        new_tokens=new_tokens,
    )
    code = 0 if report.passed else 1
    if output is None:
        return CommandResult(report.to_markdown(), report.to_dict(), exit_code=code)
    write_text(output, report.to_json() if output.suffix == ".json" else report.to_markdown())
    failed = sum(not check.passed for check in report.checks)
    said = f"{len(report.checks)} checks, {failed} failed; report written to {output}"
    return CommandResult("", report.to_dict(), notes=[said], exit_code=code)
