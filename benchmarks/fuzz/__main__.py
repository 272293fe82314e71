"""Hostile files for every loader of the workspace.

python -m benchmarks.fuzz list                                   the loaders
python -m benchmarks.fuzz run --inputs 100000 --seed 0           results/fuzz_seed0.json, a row a loader; finished rows are kept
python -m benchmarks.fuzz run --each 200 --loaders ar_core/yaml   of some loaders; no results are written
python -m benchmarks.fuzz read ar_core/yaml FOLDER               read one input here, with the traceback of what is raised
"""

import argparse
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from ar_core.environment import environment
from ar_core.errors import DataError

from ..command_line import RESULTS, command_line, exit_code
from ..resumable import Row, measure_missing
from .campaign import fuzzed
from .judge import LIMIT_S, SPARE_BYTES
from .loaders import MODULES, loader, loaders_of

__all__ = ["main"]

ROOM = Path("/dev/shm/ar_fuzz") if Path("/dev/shm").is_dir() else Path("runs/fuzz")


def main() -> int:
    """Run a command; the exit code."""
    parser = command_line("benchmarks.fuzz", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    run = commands.add_parser("run")
    run.add_argument("--inputs", type=int, default=100_000, help="over all loaders together")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--loaders", default="", help="names or beginnings of names, comma between")
    run.add_argument(
        "--room", type=Path, default=ROOM, help="folder for inputs, best in memory; faulty ones stay there"
    )
    run.add_argument("--each", type=int, help="so many inputs a loader, and write no results")
    run.add_argument("--again", action="store_true", help="keep no finished rows")
    run.add_argument("--results", type=Path, default=RESULTS, help="folder that is written to")
    read = commands.add_parser("read")
    read.add_argument("loader")
    read.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    return exit_code({"list": _list, "run": _run, "read": _read}[arguments.command], arguments)


def counts_of(inputs: int) -> dict[str, int]:
    """How many of the inputs each loader gets, rounded up."""
    shares = {one.name: one.share for module in MODULES for one in loaders_of(module)}
    return {name: math.ceil(inputs * share / sum(shares.values())) for name, share in shares.items()}


def _list(arguments: argparse.Namespace) -> int:
    for name, count in counts_of(100_000).items():
        print(f"{name:34} {count:6} of 100,000 inputs")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    # Before torch and transformers are imported.
    os.environ.update({"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"})
    import torch

    # Children are forked, and threads do not survive that.
    torch.set_num_threads(1)
    wanted = tuple(filter(None, arguments.loaders.split(",")))
    names = [name for held in MODULES.values() for name in held if not wanted or name.startswith(wanted)]
    if not names:
        raise DataError(f"--loaders is {arguments.loaders!r} and no loader begins so: give names that `list` shows")
    if arguments.inputs < 1:
        raise DataError(f"--inputs is {arguments.inputs}: give 1 or more")
    counts = dict.fromkeys(names, arguments.each) if arguments.each else counts_of(arguments.inputs)

    def measured(name: str) -> Row:
        began = time.monotonic()

        def tell(fault: dict[str, Any]) -> None:
            print(f"  {name} {fault}", flush=True)

        campaign = fuzzed(loader(name), arguments.seed, counts[name], arguments.room / name.replace("/", "."), tell)
        error = f"{len(campaign.faults)} faults" if campaign.faults else None
        return {"name": name, "error": error, **campaign.row(), "wall": round(time.monotonic() - began, 1)}

    def tell_row(row: Row) -> None:
        rate = row["inputs"] / max(row["seconds"], 0.1) * 60
        print(
            f"{row['name']}: {row['error'] or 'no fault'}, {row['inputs']} inputs, {row['accepted']} accepted, {rate:.0f} a minute "
            "of CPU time",
            flush=True,
        )

    if arguments.each:
        rows = []
        for name in names:
            rows.append(measured(name))
            tell_row(rows[-1])
        return int(any(row["error"] for row in rows))
    head: dict[str, Any] = {
        "kind": "fuzz",
        "seed": arguments.seed,
        "inputs": arguments.inputs,
        "limits": {"seconds": LIMIT_S, "spare_bytes": SPARE_BYTES, "bytes_per_byte": 4},
        "environment": environment("cpu"),
    }
    file = arguments.results / f"fuzz_seed{arguments.seed}.json"
    rows = measure_missing(
        file, head, [(name, partial(measured, name)) for name in names], again=arguments.again, tell=tell_row
    )
    return int(any(row["error"] for row in rows))


def _read(arguments: argparse.Namespace) -> int:
    loader(arguments.loader).read(arguments.folder.absolute())
    print("accepted")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
