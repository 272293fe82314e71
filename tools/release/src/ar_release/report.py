"""Results as tables for a person and as JSON for a program."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .check import STEPS, Result
from .plan import Planned

__all__ = ["as_json", "show_failure", "show_plan", "show_results"]

STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim"}


def as_json(value: Any) -> str:
    """One document of records."""
    return json.dumps(value, indent=2, default=asdict)


def show_results(console: Console, results: Sequence[Result]) -> None:
    """The steps of one package, with seconds."""
    total = sum(one.seconds for one in results)
    table = Table(title=f"{results[0].package}: {total:.1f} s", title_justify="left", title_style="bold")
    table.add_column("step", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("what it says", overflow="fold")
    for one in results:
        state = f"[{STYLES[one.state]}]{one.state}[/]"
        seconds = "" if one.state == "skipped" else f"{one.seconds:.1f}"
        table.add_row(one.step, state, seconds, escape(one.note or STEPS[one.step]))
    console.print(table)


def show_failure(console: Console, result: Result) -> None:
    """The sentence of a failed step, and what lists belong to it."""
    for line in result.broken:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"error: {result.package}, {result.step}: {result.note}", markup=False, highlight=False, soft_wrap=True
    )


def show_plan(console: Console, planned: Sequence[Planned]) -> None:
    """What has changed, and what it asks for."""
    table = Table()
    for name in ("package", "version", "last release"):
        table.add_column(name, no_wrap=True)
    for name in ("commits", "incompatible", "added"):
        table.add_column(name, justify="right")
    table.add_column("asks for", no_wrap=True)
    table.add_column("release before")
    for one in planned:
        counts = (one.commits, len(one.broken), len(one.added))
        row = (one.name, one.version, one.last or "none", *map(str, counts), one.asks, ", ".join(one.waits_for))
        table.add_row(*row)
    console.print(table)
