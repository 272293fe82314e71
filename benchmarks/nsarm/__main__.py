"""NSARM, small: both stages on photographs, measured on others under a sweep of degradations.

AR_DATA_DIR=DATA python -m benchmarks.nsarm train --seed 0       Ctrl-C and again continues; --arms for others than the usual
AR_DATA_DIR=DATA python -m benchmarks.nsarm measure --seed 0     results/nsarm_photographs_seed0.json; finished rows are kept
AR_DATA_DIR=DATA python -m benchmarks.nsarm pictures --seed 0    results of the first photographs, for the docs
python -m benchmarks.nsarm plot                                  the figure of all seeds; tables: python -m benchmarks.tables

Trained on the captioned COCO photographs of DATA and measured on its Kodak photographs, 4 times; the Infinity that stage 1 begins with and
its tokenizer are the shipped ones. Seeds differ in M's first weights, the order of the data, crops, degradations and draws.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import RESULTS, add_entries, command_line, exit_code
from ..data import staged_folder


def main(given: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.nsarm", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure", "pictures"):
        command = commands.add_parser(name)
        command.add_argument("--runs", type=Path, default=Path("runs/nsarm"))
        command.add_argument("--seed", type=int, default=0)
        if name == "train":
            command.add_argument("--arms", nargs="+", help="instead of map, joint and map_longer")
            add_entries(command, "--train", "the configs of all arms")
        if name == "measure":
            command.add_argument("--results", type=Path, default=RESULTS)
            command.add_argument("--count", type=int, default=24, help="photographs under each degradation")
            command.add_argument("--degradations", nargs="+", help="instead of the whole sweep")
            command.add_argument(
                "--large", type=int, nargs=2, default=(1000, 700), help="width and height of the large input"
            )
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args(given))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    from .arms import USUAL, Study, train

    staged = staged_folder("image_text/, images/ and models/")
    study = Study(arguments.runs, staged, arguments.seed)
    if arguments.command == "train":
        return 0 if train(study, tuple(arguments.arms or USUAL), arguments.train) else 130
    if arguments.command == "pictures":
        from .pictures import pictures

        pictures(study)
        return 0
    from .measuring import measure_all

    measure_all(
        study,
        arguments.results,
        count=arguments.count,
        degradations=arguments.degradations,
        large=tuple(arguments.large),
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
