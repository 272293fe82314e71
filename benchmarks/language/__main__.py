"""Conversion of real language models on a budget of CPU minutes.

AR_DATA_DIR=../shared/data python -m benchmarks.language train stories260k      conversion and control
AR_DATA_DIR=../shared/data python -m benchmarks.language measure stories260k    results/language_stories260k.json
python -m benchmarks.language table stories260k                                 the tables of the docs
"""

import argparse
import json
import sys
from pathlib import Path

from ar_core.errors import ArError, DataError

from .setups import SETUPS

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.language", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "measure", "table"))
    parser.add_argument("model", choices=tuple(SETUPS))
    parser.add_argument("--runs", type=Path, default=Path("runs/language"), help="folder of the trained models")
    parser.add_argument("--rounds", type=int, default=2, help="measure: timed runs of each decoder")
    parser.add_argument("--threads", type=int, default=1, help="measure: torch threads")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="train: entries of both configs")
    arguments = parser.parse_intermixed_args()
    try:
        return {"train": _train, "measure": _measure, "table": _table}[arguments.command](arguments)
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _train(arguments: argparse.Namespace) -> int:
    from .setups import train

    models = train(arguments.model, arguments.runs, tuple(arguments.overrides))
    return 0 if models is not None else 130


def _measure(arguments: argparse.Namespace) -> int:
    import torch

    from .measuring import measure
    from .setups import trained_models

    torch.set_num_threads(arguments.threads)
    results = measure(arguments.model, trained_models(arguments.model, arguments.runs), rounds=arguments.rounds)
    path = _results(arguments.model)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from .plotting import losses_table, rows_table

    path = _results(arguments.model)
    if not path.is_file():
        raise DataError(f"{str(path)!r} is not there: measure {arguments.model} first")
    results = json.loads(path.read_text(encoding="utf-8"))
    print(losses_table(results))
    print(rows_table(results), end="")
    return 0


def _results(model: str) -> Path:
    return RESULTS / f"language_{model}.json"


if __name__ == "__main__":
    raise SystemExit(main())
