"""Conversion of the task model, seed by seed.

python -m benchmarks.tasks train --seed 0        base, conversion and control; continues where it stopped
python -m benchmarks.tasks measure --seed 0      500 held-out problems, results/tasks_fast_dllm_v2_seed0.json
python -m benchmarks.tasks plot                  figure and table over all measured seeds
"""

import argparse
import json
import sys
from pathlib import Path

from ar_core.errors import ArError, DataError

RESULTS = Path(__file__).parents[1] / "results"
STEM = "tasks_fast_dllm_v2"
SHIPPED = Path(__file__).parents[2] / "apps" / "quickstart" / "src" / "ar_quickstart" / "weights"


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("train", "measure", "export", "plot"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/tasks"), help="folder of the trained models")
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1, help="torch threads while measuring")
    parser.add_argument("--block-sizes", type=int, nargs="+", help="measure: D of decoding (default: 4 8 16)")
    parser.add_argument("--thresholds", type=float, nargs="+", help="measure: acceptance thresholds (default: six)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="train: entries of the conversion's config")
    arguments = parser.parse_intermixed_args()
    try:
        return {"train": _train, "measure": _measure, "export": _export, "plot": _plot}[arguments.command](arguments)
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _train(arguments: argparse.Namespace) -> int:
    from .training import train_seed

    models = train_seed(arguments.seed, arguments.runs, overrides=tuple(arguments.overrides))
    return 0 if models is not None else 130


def _measure(arguments: argparse.Namespace) -> int:
    import torch

    from .measuring import BLOCK_SIZES, THRESHOLDS, measure_seed, write
    from .training import trained_models

    torch.set_num_threads(arguments.threads)
    models = trained_models(arguments.seed, arguments.runs)
    path = RESULTS / f"{STEM}_seed{arguments.seed}.json"
    results = measure_seed(
        arguments.seed,
        models,
        problems=arguments.problems,
        block_sizes=arguments.block_sizes or BLOCK_SIZES,
        thresholds=arguments.thresholds or THRESHOLDS,
    )
    write(results, path)
    print(path)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from .exporting import export
    from .training import trained_models

    results = RESULTS / f"{STEM}_seed{arguments.seed}.json"
    if not results.is_file():
        raise DataError(
            f"{str(results)!r} is not there, and the model cards quote it: measure seed {arguments.seed} first"
        )
    models = trained_models(arguments.seed, arguments.runs)
    export(arguments.seed, models, json.loads(results.read_text(encoding="utf-8")), SHIPPED)
    print(SHIPPED)
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from .plotting import figure, markdown_table

    del arguments
    files = sorted(RESULTS.glob(f"{STEM}_seed*.json"))
    if not files:
        raise DataError(f"there are no results {STEM}_seed*.json to plot: measure a seed first")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    (RESULTS / f"{STEM}.svg").write_text(figure(results) + "\n", encoding="utf-8")
    (RESULTS / f"{STEM}.md").write_text(markdown_table(results), encoding="utf-8")
    print(markdown_table(results), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
