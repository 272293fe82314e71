"""The command line of benchmarks that are measured part by part."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ar_core.errors import DataError

from .command_line import RESULTS, command_line, exit_code
from .resumable import Row, measure_missing

__all__ = ["Suite", "main"]


@dataclass(frozen=True)
class Suite:
    """What a benchmark consists of.

    Attributes:
        kind: its name; results are called ``KIND_PART.json``.
        parts: device and cases of each part; a case has a ``name``, which is unique in it.
        dry: all kinds of cases at sizes of seconds in all, on a CPU.
        measured: a case, ``repeats``, ``device`` and ``ceiling`` (None in a dry run) to a row with ``name``, ``error`` and,
            where something it needs is absent, ``not_run``, the reason.
        told: a row with times in a line.
        table: results to markdown.
        head: what else results say of a part.
    """

    kind: str
    parts: Mapping[str, tuple[str, Callable[[], Iterable[Any]]]]
    dry: Callable[[], Iterable[Any]]
    measured: Callable[..., Row]
    told: Callable[[Row], str]
    table: Callable[[Mapping[str, Any]], str]
    head: Callable[[str], Mapping[str, Any]] = field(default=lambda part: {})


def main(program: str, doc: str | None, suite: Callable[[], Suite], *, repeats: int) -> int:
    """Run one of the commands; the exit code.

    Args:
        program: what comes behind ``python -m``.
        doc: its help.
        suite: gives the benchmark; called when it is needed.
        repeats: default of the option.
    """
    parser = command_line(program, doc)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--part", help="what is measured; see the list of an unknown one")
    run.add_argument("--dry", action="store_true", help="tiny sizes, nothing written")
    run.add_argument("--repeats", type=int, default=repeats, help="timed rounds of each implementation")
    run.add_argument("--threads", type=int, default=1, help="torch threads on a CPU")
    run.add_argument("--again", action="store_true", help="measure finished cases anew")
    run.add_argument("--results", type=Path, default=RESULTS, help="folder that is written to")
    commands.add_parser("table").add_argument("--results", type=Path, default=RESULTS, help="folder that is read")
    arguments = parser.parse_args()
    return exit_code(lambda given: {"run": _run, "table": _table}[given.command](suite(), given), arguments)


def _run(suite: Suite, arguments: argparse.Namespace) -> int:
    import torch
    from ar_core import allocator
    from ar_core.environment import environment

    from .timing import ceilings

    if arguments.repeats < 1:
        raise DataError(f"--repeats is {arguments.repeats}: give 1 or more")
    torch.set_num_threads(arguments.threads)
    if arguments.dry:
        rows = []
        for case in suite.dry():
            rows.append(suite.measured(case, repeats=1, device="cpu", ceiling=None))
            print(_line(rows[-1], lambda row: "agrees"), flush=True)
        return int(any(row["error"] for row in rows))
    if arguments.part not in suite.parts:
        raise DataError(f"--part is {arguments.part!r}: give one of {', '.join(suite.parts)}, or --dry")
    device, cases = suite.parts[arguments.part]
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError(f"the part {arguments.part!r} needs a CUDA device, and there is none: run a cpu part, or --dry")
    allocator.keep_freed_memory()
    head = {
        "kind": suite.kind,
        "part": arguments.part,
        **suite.head(arguments.part),
        "environment": environment(device),
        "ceilings": ceilings(device, torch.bfloat16 if device == "cuda" else torch.float32),
    }
    settings = {"repeats": arguments.repeats, "device": device, "ceiling": head["ceilings"]}
    rows = measure_missing(
        arguments.results / f"{suite.kind}_{arguments.part}.json",
        head,
        ((case.name, partial(suite.measured, case, **settings)) for case in cases()),
        again=arguments.again,
        tell=lambda row: print(_line(row, suite.told), flush=True),
    )
    return int(any(row["error"] for row in rows))


def _line(row: Row, told: Callable[[Row], str]) -> str:
    absent = row.get("not_run")
    return f"{row['name']}: {row['error'] or (f'not run: {absent}' if absent else told(row))}"


def _table(suite: Suite, arguments: argparse.Namespace) -> int:
    files = sorted(arguments.results.glob(f"{suite.kind}_*.json"))
    if not files:
        raise DataError(f"{str(arguments.results)!r} holds no {suite.kind}_*.json: run a part first")
    tables = (f"{file.stem}\n\n{suite.table(json.loads(file.read_text(encoding='utf-8')))}" for file in files)
    print("\n".join(tables), end="")
    return 0
