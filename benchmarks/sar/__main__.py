"""SAR beside plain training: the same start, data and number of steps.

python -m benchmarks.images take flexvar                           what all arms start from
python -m benchmarks.images train side_codes --cifar10 CIFAR10     its codes
python -m benchmarks.sar train --seed 0 --cifar10 CIFAR10          Ctrl-C and again continues; --arms for others than the usual
python -m benchmarks.sar train --arms full --train train.steps=20 --cifar10 CIFAR10 --runs runs/look   a trial: other settings are other runs
python -m benchmarks.sar measure --seed 0 --cifar10 CIFAR10        results/sar_cifar10_seed0.json; finished rows are kept
python -m benchmarks.sar plot                                      figures of all seeds; tables: python -m benchmarks.tables

`--runs` is the folder of benchmarks.images. All seeds start from the models of `--base-seed`: what they differ in is the order of
the data, dropped classes, rolled-out codes, and the samples that are drawn, those of the start too.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import RESULTS, add_entries, command_line, exit_code
from ..images.study import add_options, folders_of


def main(given: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.sar", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure"):
        command = commands.add_parser(name)
        add_options(command)
        command.add_argument("--arms", nargs="+", help="instead of the usual ones")
        if name == "train":
            add_entries(command, "--train", "the config, for all arms")
        else:
            command.add_argument("--results", type=Path, default=RESULTS)
            command.add_argument("--count", type=int, default=5000, help="images at each guidance scale")
            command.add_argument("--guidance", type=float, nargs="+", default=[1, 4, 12, 24], help="scales")
            command.add_argument("--held-out", type=int, help="pictures of the likelihood; default: all")
            command.add_argument("--repeats", type=int, default=10, help="timed rounds of each way to take a step")
            command.add_argument("--batch", type=int, help="samples of a timed step; default: the config's")
            command.add_argument("--device", default="cpu", help="of the timed steps")
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args(given))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    from .arms import USUAL, study_of, train

    study, arms = study_of(folders_of(arguments), arguments.seed), tuple(arguments.arms or USUAL)
    if arguments.command == "train":
        return 0 if train(study, arms, arguments.train) else 130
    from .measuring import measure_all

    measure_all(
        study,
        arms,
        arguments.results,
        count=arguments.count,
        guidance=arguments.guidance,
        held_out=arguments.held_out,
        repeats=arguments.repeats,
        batch=arguments.batch,
        device=arguments.device,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
