"""Every kind of job killed with SIGKILL, at write boundaries and at random times, and continued until it is done.

python -m benchmarks.crashes run --kills 200                       until so many kills of all jobs together are in the results
python -m benchmarks.crashes run --kills 60 --jobs cca sar         of these jobs
python -m benchmarks.crashes run --kills 2000 --minutes 30         a share; the same command goes on where it stopped
python -m benchmarks.crashes jobs                                  names and kinds
python -m benchmarks.tables                                        the table of the docs

Results gather in results/crashes.json, one sitting at a time. A job counts as lost where it could not be continued, or ended with other weights, optimiser
state, averages, data, files or metrics than without kills.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ar_core.errors import DataError

from ..command_line import RESULTS, command_line, exit_code


def main(given: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code: 1 if a job was lost."""
    parser = command_line("benchmarks.crashes", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--kills", type=int, default=200, help="in the results, those of earlier sittings included")
    run.add_argument("--minutes", type=float, help="stop after so many")
    run.add_argument("--jobs", nargs="+", help="default: all")
    run.add_argument("--home", type=Path, default=Path("runs/crashes"), help="what jobs start from, made once")
    run.add_argument("--results", type=Path, default=RESULTS)
    commands.add_parser("jobs")
    arguments = parser.parse_args(given)
    return exit_code({"run": _run, "jobs": _list}[arguments.command], arguments)


def _list(arguments: argparse.Namespace) -> int:
    from .jobs import JOBS

    for name, job in JOBS.items():
        print(f"{name}: {job.kind}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from ar_core.environment import environment
    from ar_decode.output import write_text

    from .jobs import JOBS
    from .killing import Range, started

    names = arguments.jobs or list(JOBS)
    for name in names:
        if name not in JOBS:
            raise DataError(f"--jobs names {name!r}: give some of those that `python -m benchmarks.crashes jobs` lists")
    file = arguments.results / "crashes.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"rows": {}, "minutes": 0.0}
    rows: dict[str, dict[str, Any]] = known["rows"]
    where, began = environment("cpu"), time.monotonic()
    end = began + 60 * arguments.minutes if arguments.minutes is not None else float("inf")

    def kills() -> int:
        return sum(_kills(rows[name]) for name in names if name in rows)

    home = arguments.home.resolve()
    with started(home, names) as runs:
        field, before = Range(runs, home / "shots", rows), kills()
        while kills() < arguments.kills and time.monotonic() < end:
            # Whoever was killed least is next, so that any sitting is shared out among all jobs.
            name = min(names, key=lambda one: _kills(rows.get(one, {})))
            row = field.shoot(name)
            row["commits"] = sorted({*row.get("commits", []), where["commit"]})
            rows[name] = row
            spent = known["minutes"] + (time.monotonic() - began) / 60
            results = {"kind": "crashes", "environment": where, "minutes": round(spent, 1), "rows": rows}
            write_text(file, json.dumps(results, indent=1) + "\n")
            lost = f", LOST: {row['lost'][-1]}" if row["lost"] else ""
            print(f"{kills()} kills, {name}: {_kills(row)} in {row['jobs']} jobs{lost}", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{kills() - before} kills in {minutes:.1f} minutes")
    return int(any(rows[name]["lost"] for name in names if name in rows))


def _kills(row: dict[str, Any]) -> int:
    return row.get("kills_at_boundaries", 0) + row.get("kills_at_moments", 0)


if __name__ == "__main__":
    raise SystemExit(main())
