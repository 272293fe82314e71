"""``ar-decode verify``."""

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import (
    DeviceOption,
    DtypeOption,
    EngineOption,
    ForceOption,
    ModelArgument,
    ThreadsOption,
    WeightsOption,
)

__all__ = ["EXAMPLES", "verify"]

EXAMPLES = (
    "ar-decode verify smollm2-135m-instruct",
    "ar-decode verify ./model --dtype float64 --output report.md",
    "ar-decode verify owner/name --output report.json",
)


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
) -> None:
    """Check that a model decodes correctly here: cached = uncached, block size 1 = AR, lookup = AR, on five prompts.

    Loads strictly, and writes a report fit for a bug tracker. Exit code 1 if a check fails.
    """
    from ..output import check_targets, write_text

    check_targets(output, force=force)
    from ..session import load_session
    from ..verify import verify as run

    report = run(
        load_session(model, dtype=dtype, device=device, engine=engine, weights=weights, threads=threads),
        new_tokens=new_tokens,
    )
    if output is None:
        typer.echo(report.to_markdown())
    else:
        write_text(output, report.to_json() if output.suffix == ".json" else report.to_markdown())
        failed = sum(not check.passed for check in report.checks)
        typer.echo(f"{len(report.checks)} checks, {failed} failed; report written to {output}", err=True)
    if not report.passed:
        raise typer.Exit(1)
