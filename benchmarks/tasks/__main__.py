"""Conversion of the task model, seed by seed.

python -m benchmarks.tasks train --seed 0        base, conversion and control; continues where it stopped
python -m benchmarks.tasks measure --seed 0      500 held-out problems, results/tasks_fast_dllm_v2_seed0.json
python -m benchmarks.tasks plot                  figure and table over all measured seeds
python -m benchmarks.tasks export --seed 0       base, all conversions and their recorded figures into ar-quickstart

All of them take --method; a conversion with other settings is a variant beside the plain one, with the same base and control:

python -m benchmarks.tasks train --method efficient_dlm --variant uniform method.half_life_ratio=null
python -m benchmarks.tasks compare --method efficient_dlm         all variants that were measured: one table, one figure
"""

import argparse
import json
from pathlib import Path

from ar_core.config import apply_overrides
from ar_core.errors import CheckpointError, DataError

from benchmarks.command_line import RESULTS, command_line, exit_code
from benchmarks.recipes import DEFAULT_METHOD, conversion_name

SHIPPED = Path(__file__).parents[2] / "apps" / "quickstart" / "src" / "ar_quickstart" / "weights"


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.tasks", __doc__)
    parser.add_argument("command", choices=("train", "measure", "export", "plot", "compare"))
    parser.add_argument("--method", default=DEFAULT_METHOD, help="recipe and decoder of the conversion")
    parser.add_argument("--variant", default="", help="name of a conversion with overrides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/tasks"), help="folder of the trained models")
    parser.add_argument("--base-steps", type=int, help="train: steps of the base (default: those of its config)")
    parser.add_argument("--jacobi-forcing", type=Path, help="export: its model (default: beside RUNS, as trained)")
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1, help="torch threads while measuring")
    parser.add_argument("--block-sizes", type=int, nargs="+", help="measure: D of decoding (default: 4 8 16)")
    parser.add_argument("--thresholds", type=float, nargs="+", help="measure: acceptance thresholds (default: six)")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="train: entries of the conversion's config; measure: settings of its decoder",
    )
    arguments = parser.parse_intermixed_args()
    commands = {"train": _train, "measure": _measure, "export": _export, "plot": _plot, "compare": _compare}
    return exit_code(commands[arguments.command], arguments)


def _train(arguments: argparse.Namespace) -> int:
    from .training import train_seed

    models = train_seed(
        arguments.seed,
        arguments.runs,
        method=arguments.method,
        variant=arguments.variant,
        overrides=tuple(arguments.overrides),
        base_steps=arguments.base_steps,
    )
    return 0 if models is not None else 130


def _measure(arguments: argparse.Namespace) -> int:
    import torch

    from .measuring import BLOCK_SIZES, THRESHOLDS, measure_seed, write
    from .training import trained_models

    torch.set_num_threads(arguments.threads)
    models = trained_models(arguments.seed, arguments.runs, method=arguments.method, variant=arguments.variant)
    path = RESULTS / f"{_stem(arguments)}_seed{arguments.seed}.json"
    results = measure_seed(
        arguments.seed,
        models,
        method=arguments.method,
        variant=arguments.variant,
        settings=apply_overrides({}, arguments.overrides),
        problems=arguments.problems,
        block_sizes=arguments.block_sizes or BLOCK_SIZES,
        thresholds=arguments.thresholds or THRESHOLDS,
    )
    write(results, path)
    print(path)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from ar_quickstart.shipped import MODELS

    from benchmarks.recipes import FINAL

    from .exporting import export
    from .recording import RESULTS as FILES
    from .recording import read_results
    from .training import trained_models

    if arguments.method != DEFAULT_METHOD or arguments.variant:
        raise DataError(
            "ar-quickstart ships a base and all its plain conversions together: export them without --method and --variant"
        )
    seed, runs = arguments.seed, arguments.runs
    trained = arguments.jacobi_forcing or runs.parent / "jacobi_forcing" / "tasks" / f"seed{seed}" / "trained" / FINAL
    if not trained.is_dir():
        raise CheckpointError(
            f"{str(trained)!r} is not there: run `python -m benchmarks.jacobi_forcing train tasks --seed {seed}` first"
        )
    folders = {"ar": trained_models(seed, runs).base, "jacobi_forcing": trained}
    for name in MODELS:
        if name not in folders:
            folders[name] = trained_models(seed, runs, method=name).converted
    results = read_results(RESULTS, seed)
    export(seed, folders, results, SHIPPED)
    for name in FILES.keys() - results.keys():
        print(f"no results of {name} on the tasks: its recorded figures are left out")
    print(SHIPPED)
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from .plotting import figure, markdown_table

    stem = _stem(arguments)
    files = sorted(RESULTS.glob(f"{stem}_seed*.json"))
    if not files:
        raise DataError(f"there are no results {stem}_seed*.json to plot: measure a seed first")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    (RESULTS / f"{stem}.svg").write_text(figure(results) + "\n", encoding="utf-8")
    (RESULTS / f"{stem}.md").write_text(markdown_table(results), encoding="utf-8")
    print(markdown_table(results), end="")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from .comparison import comparison_table, read_comparison
    from .comparison_figure import comparison_figure

    results, beside = read_comparison(RESULTS, arguments.method)
    if not results:
        raise DataError(f"there are no results of {arguments.method} to compare: measure a seed first")
    (RESULTS / f"tasks_{arguments.method}_variants.svg").write_text(
        comparison_figure(results, beside) + "\n", encoding="utf-8"
    )
    table = comparison_table(results, beside)
    (RESULTS / f"tasks_{arguments.method}_variants.md").write_text(table, encoding="utf-8")
    print(table, end="")
    return 0


def _stem(arguments: argparse.Namespace) -> str:
    return f"tasks_{conversion_name(arguments.method, arguments.variant)}"


if __name__ == "__main__":
    raise SystemExit(main())
