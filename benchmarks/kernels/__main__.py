"""Kernels: time and memory against their references, and how near they come to what the device can do.

python -m benchmarks.kernels run --part cpu_head       benchmarks/results/kernels_cpu_head.json; finished cases are kept
python -m benchmarks.kernels run --part cuda_training  random weights of 1.5B and 7B shapes
python -m benchmarks.kernels run --dry                 all kinds of cases in a second, on a CPU; writes nothing
python -m benchmarks.kernels table                     all results as a table

A case whose implementations disagree has no times: the command says so, and its exit code is 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ar_core.errors import ArError, DataError

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--part", help="what is measured; see the list of an unknown one")
    run.add_argument("--dry", action="store_true", help="tiny sizes, nothing written")
    run.add_argument("--repeats", type=int, default=7, help="timed rounds of each implementation")
    run.add_argument("--threads", type=int, default=1, help="torch threads on a CPU")
    run.add_argument("--again", action="store_true", help="measure finished cases anew")
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
    from ar_decode.environment import environment
    from ar_decode.output import write_text

    from .measuring import measured
    from .parts import PARTS, dry

    torch.set_num_threads(arguments.threads)
    if arguments.dry:
        rows = [measured(case, repeats=1, device="cpu", ceiling=None) for case in dry()]
        print("\n".join(f"{row['name']}: {row['error'] or 'agrees'}" for row in rows))
        return int(any(row["error"] for row in rows))
    if arguments.part not in PARTS:
        raise DataError(f"--part is {arguments.part!r}: give one of {', '.join(PARTS)}, or --dry")
    device, cases = PARTS[arguments.part]
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError(f"the part {arguments.part!r} needs a CUDA device, and there is none: run a cpu part, or --dry")
    file = arguments.results / f"kernels_{arguments.part}.json"
    results = _begun(file) if not arguments.again else {}
    fresh = {"kind": "kernels", "part": arguments.part, "environment": environment(device)}
    rows = (
        results.get("rows", [])
        if results.get("environment", {}).get("device") == fresh["environment"]["device"]
        else []
    )
    from ..timing import ceilings

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    fresh["ceilings"] = ceilings(device, dtype)
    for case in cases():
        if any(row["name"] == case.name for row in rows):
            continue
        row = measured(case, repeats=arguments.repeats, device=device, ceiling=fresh["ceilings"])
        rows.append(row)
        write_text(file, json.dumps({**fresh, "rows": rows}, indent=1) + "\n")
        print(f"{row['name']}: {row['error'] or row['ratios']}", flush=True)
    return int(any(row["error"] for row in rows))


def _begun(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _table(arguments: argparse.Namespace) -> int:
    from .measuring import markdown_table

    files = sorted(arguments.results.glob("kernels_*.json"))
    if not files:
        raise DataError(f"{str(arguments.results)!r} holds no kernels_*.json: run a part first")
    print("\n".join(_tables(files, markdown_table)), end="")
    return 0


def _tables(files: list[Path], render: Any) -> Iterator[str]:
    for file in files:
        yield f"{file.stem}\n\n{render(json.loads(file.read_text(encoding='utf-8')))}"


if __name__ == "__main__":
    raise SystemExit(main())
