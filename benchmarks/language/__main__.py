"""Conversion of real language models on a budget of CPU minutes.

AR_DATA_DIR=DATA python -m benchmarks.language train stories260k      conversion and control
AR_DATA_DIR=DATA python -m benchmarks.language measure stories260k    results/language_stories260k.json
python -m benchmarks.language table stories260k                                 the tables of the docs

All of them take --method and, for a conversion with other settings and the same control, --variant:

python -m benchmarks.language train stories260k --method efficient_dlm --variant uniform method.half_life_ratio=null
python -m benchmarks.language table stories260k --method efficient_dlm          all variants that were measured
"""

import argparse
import json
from pathlib import Path

from ar_core.errors import DataError

from benchmarks.recipes import DEFAULT_METHOD

from ..command_line import RESULTS, command_line, exit_code
from .results import read_results, results_stem
from .setups import SETUPS


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.language", __doc__)
    parser.add_argument("command", choices=("train", "measure", "table"))
    parser.add_argument("model", choices=tuple(SETUPS))
    parser.add_argument("--method", default=DEFAULT_METHOD, help="recipe and decoder of the conversion")
    parser.add_argument("--variant", default="", help="train, measure: name of a conversion with overrides")
    parser.add_argument("--runs", type=Path, default=Path("runs/language"), help="folder of the trained models")
    parser.add_argument("--rounds", type=int, default=2, help="measure: timed runs of each decoder")
    parser.add_argument("--threads", type=int, default=1, help="measure: torch threads")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="train: entries of the configs")
    arguments = parser.parse_intermixed_args()
    return exit_code({"train": _train, "measure": _measure, "table": _table}[arguments.command], arguments)


def _train(arguments: argparse.Namespace) -> int:
    from .setups import train

    models = train(arguments.model, arguments.runs, tuple(arguments.overrides), **_conversion(arguments))
    return 0 if models is not None else 130


def _measure(arguments: argparse.Namespace) -> int:
    import torch

    from .measuring import measure
    from .setups import trained_models

    torch.set_num_threads(arguments.threads)
    models = trained_models(arguments.model, arguments.runs, **_conversion(arguments))
    results = measure(arguments.model, models, rounds=arguments.rounds, **_conversion(arguments))
    path = RESULTS / f"{results_stem(arguments.model, arguments.method, arguments.variant)}.json"
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from .plotting import losses_table, rows_table

    stem = results_stem(arguments.model, arguments.method)
    results = read_results(RESULTS).get(stem)
    if results is None:
        raise DataError(f"there are no results {stem}*.json: measure {arguments.model} with {arguments.method} first")
    print(losses_table(results))
    print(rows_table(results), end="")
    return 0


def _conversion(arguments: argparse.Namespace) -> dict[str, str]:
    return {"method": arguments.method, "variant": arguments.variant}


if __name__ == "__main__":
    raise SystemExit(main())
