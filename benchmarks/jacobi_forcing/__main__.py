"""Jacobi Forcing on models' own trajectories.

python -m benchmarks.jacobi_forcing train tasks --seed 0                        base if absent, trajectories, training
python -m benchmarks.jacobi_forcing measure tasks --seed 0                      results/jacobi_forcing_tasks_seed0.json
python -m benchmarks.jacobi_forcing plot                                        tables and figure of all measured seeds
AR_DATA_DIR=DATA python -m benchmarks.jacobi_forcing train stories260k      and smollm2_135m
AR_DATA_DIR=DATA python -m benchmarks.jacobi_forcing measure stories260k    results/jacobi_forcing_stories260k.json
python -m benchmarks.jacobi_forcing table                                       the tables of the docs

Interrupted training goes on with the same command.
"""

import argparse
from pathlib import Path

from ar_core.errors import DataError

from ..command_line import RESULTS, add_entries, command_line, exit_code
from .training import SETUPS, Budget

TASKS = "tasks"


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.jacobi_forcing", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure"):
        command = commands.add_parser(name)
        command.add_argument("model", choices=(TASKS, *SETUPS))
        command.add_argument("--seed", type=int, default=0, help="tasks: of the base and all that comes of it")
        command.add_argument("--runs", type=Path, default=Path("runs/jacobi_forcing"), help="folder of the runs")
        command.add_argument("--task-runs", type=Path, default=Path("runs/tasks"), help="where the task bases are")
        command.add_argument("--round2", action="store_true", help="a second round from the model of the first")
        if name == "train":
            command.add_argument("--base-steps", type=int, help="tasks: steps of the base (default: its config's)")
            for stage, recipe in (("collect", "jacobi_trajectories"), ("train", "jacobi_forcing")):
                add_entries(command, f"--{stage}", recipe)
        else:
            command.add_argument("--problems", type=int, default=200, help="tasks: how many held-out ones")
            command.add_argument(
                "--block-lengths",
                type=int,
                nargs="+",
                default=[8, 16],
                help="tasks: n of decoding (default: 8, that of training, and 16)",
            )
            command.add_argument("--rounds", type=int, default=2, help="language: timed runs of each decoder")
            command.add_argument("--per-category", type=int, default=1, help="Spec-Bench: the first N that fit")
            command.add_argument("--prompts", type=int, help="language: only the first N of the prompts")
            command.add_argument("--threads", type=int, default=1, help="torch threads")
            command.add_argument("--results", type=Path, default=RESULTS, help="folder that is written to")
    for name in ("table", "plot"):
        commands.add_parser(name).add_argument("--results", type=Path, default=RESULTS, help="folder that is read")
    arguments = parser.parse_args()
    return exit_code(
        {"train": _train, "measure": _measure, "table": _table, "plot": _plot}[arguments.command], arguments
    )


def _train(arguments: argparse.Namespace) -> int:
    from .training import train_task, train_text

    rounds, budget = 2 if arguments.round2 else 1, Budget(tuple(arguments.collect), tuple(arguments.train))
    if arguments.model == TASKS:
        trained = train_task(
            arguments.seed,
            arguments.runs,
            arguments.task_runs,
            rounds=rounds,
            budget=budget,
            base_steps=arguments.base_steps,
        )
    else:
        trained = train_text(arguments.model, arguments.runs, rounds=rounds, budget=budget)
    return 0 if trained is not None else 130


def _measure(arguments: argparse.Namespace) -> int:
    import torch

    from benchmarks.tasks.measuring import write

    from .training import task_models, text_models

    torch.set_num_threads(arguments.threads)
    rounds = 2 if arguments.round2 else 1
    if arguments.model == TASKS:
        from .task_measuring import measure_seed

        models = task_models(arguments.seed, arguments.runs, arguments.task_runs, rounds=rounds)
        results = measure_seed(
            arguments.seed, models, problems=arguments.problems, block_lengths=arguments.block_lengths
        )
        path = arguments.results / f"jacobi_forcing_tasks_seed{arguments.seed}.json"
    else:
        from .text_measuring import measure

        models = text_models(arguments.model, arguments.runs, rounds=rounds)
        results = measure(
            arguments.model,
            models,
            rounds=arguments.rounds,
            per_category=arguments.per_category,
            limit=arguments.prompts,
        )
        path = arguments.results / f"jacobi_forcing_{arguments.model}.json"
    write(results, path)
    print(path)
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from .plotting import tables

    found = tables(arguments.results)
    if not found:
        raise DataError(f"{str(arguments.results)!r} holds no results of Jacobi Forcing: measure a model first")
    print("\n".join(f"{name}\n\n{table}" for name, table in found.items()), end="")
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from .plotting import figure, read_seeds, seeds_table, tasks_table

    seeds = read_seeds(arguments.results)
    if not seeds:
        raise DataError(f"{str(arguments.results)!r} holds no results of the tasks: measure a seed first")
    text = f"{tasks_table(seeds)}\n{seeds_table(seeds)}"
    (arguments.results / "jacobi_forcing_tasks.svg").write_text(figure(seeds) + "\n", encoding="utf-8")
    (arguments.results / "jacobi_forcing_tasks.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
