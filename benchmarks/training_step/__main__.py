"""Training steps: dense attention, segments, FlexAttention and our kernel, in two layouts; time and peak memory.

python -m benchmarks.training_step run --part cpu_smollm2  benchmarks/results/training_step_cpu_smollm2.json
python -m benchmarks.training_step run --part cuda_1.5b    random weights of 1.5B shapes; finished arms are kept
python -m benchmarks.training_step run --dry               a tiny model in seconds, on a CPU; writes nothing
python -m benchmarks.training_step table                   all results as tables

An arm whose loss, gradient or attention is off, or that makes a tensor of queries x keys though it promises none, has no
times: the command says so, and its exit code is 1. An arm whose backend is absent is told with the reason.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ar_core.errors import ArError, DataError

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--part", help="what is measured; see the list of an unknown one")
    run.add_argument("--dry", action="store_true", help="tiny sizes, nothing written")
    run.add_argument("--repeats", type=int, default=3, help="timed rounds of each pair of arms")
    run.add_argument("--threads", type=int, default=1, help="torch threads on a CPU")
    run.add_argument("--again", action="store_true", help="measure finished arms anew")
    run.add_argument("--results", type=Path, default=RESULTS, help="folder that is written to")
    commands.add_parser("table").add_argument("--results", type=Path, default=RESULTS, help="folder that is read")
    arguments = parser.parse_args()
    try:
        return {"run": _run, "table": _table}[arguments.command](arguments)
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    import torch
    from ar_core.allocator import keep_freed_memory
    from ar_decode.environment import environment
    from ar_decode.output import write_text

    from .measuring import rows_of
    from .parts import DRY, PARTS

    if arguments.repeats < 1:
        raise DataError(f"--repeats is {arguments.repeats}: give 1 or more")
    torch.set_num_threads(arguments.threads)
    if arguments.dry:
        return _told(rows_of(DRY, (), repeats=1), lambda row: "agrees")
    if arguments.part not in PARTS:
        raise DataError(f"--part is {arguments.part!r}: give one of {', '.join(PARTS)}, or --dry")
    part = PARTS[arguments.part]
    if part.device == "cuda" and not torch.cuda.is_available():
        raise DataError(f"the part {arguments.part!r} needs a CUDA device, and there is none: run a cpu part, or --dry")
    keep_freed_memory()
    file = arguments.results / f"training_step_{arguments.part}.json"
    fresh: dict[str, Any] = {"kind": "training_step", "part": arguments.part, **part.head()}
    fresh["environment"] = environment(part.device)
    rows = [] if arguments.again else _finished(file, fresh)

    def kept() -> Iterable[dict[str, Any]]:
        for row in rows_of(part, {row["name"] for row in rows}, repeats=arguments.repeats):
            rows.append(row)
            write_text(file, json.dumps({**fresh, "rows": rows}, indent=1) + "\n")
            yield row

    return _told(kept(), lambda row: f"{row['times_as_fast']} times as fast as {row['against']}")


def _told(rows: Iterable[dict[str, Any]], outcome: Callable[[dict[str, Any]], str]) -> int:
    """Say how each went as soon as it is known; the exit code."""
    wrong = False
    for row in rows:
        wrong |= bool(row["error"])
        refused = row["error"] or (f"not run: {row['not_run']}" if row["not_run"] else "")
        print(f"{row['name']}: {refused or outcome(row)}", flush=True)
    return int(wrong)


def _finished(file: Path, fresh: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that need not be measured again: of the same setting, on the same device, with times."""
    if not file.is_file():
        return []
    results = json.loads(file.read_text(encoding="utf-8"))
    same = all(results.get(key) == value for key, value in fresh.items() if key != "environment")
    if not same or results["environment"]["device"] != fresh["environment"]["device"]:
        return []
    return [row for row in results["rows"] if "seconds" in row]


def _table(arguments: argparse.Namespace) -> int:
    from .measuring import markdown_table

    files = sorted(arguments.results.glob("training_step_*.json"))
    if not files:
        raise DataError(f"{str(arguments.results)!r} holds no training_step_*.json: run a part first")
    for file in files:
        print(f"{file.stem}\n\n{markdown_table(json.loads(file.read_text(encoding='utf-8')))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
