"""ECM beside LoRA, full fine-tuning and its own ablations: canny on CIFAR-10, the same base, data and number of steps.

python -m benchmarks.images train var --cifar10 CIFAR10              what all arms start from
python -m benchmarks.ecm train --seed 0 --cifar10 CIFAR10            Ctrl-C and again continues; --arms for others than the usual
python -m benchmarks.ecm train --arms ecm --train train.steps=20 train.warmup_steps=5   a trial; other settings are other runs: give --runs
python -m benchmarks.ecm measure --seed 0 --cifar10 CIFAR10          results/ecm_cifar10_seed0.json; finished rows are kept
python -m benchmarks.ecm picture --seed 0 --cifar10 CIFAR10          docs/pictures/ecm_canny.png
python -m benchmarks.ecm controls                                    docs/pictures/ecm_controls.jpg, without any model
python -m benchmarks.ecm plot                                        figures of all seeds; tables: python -m benchmarks.tables

`--runs` is the folder of benchmarks.images. All seeds start from the models of `--base-seed`. An arm of 1,000 steps takes 8 to 9 minutes of a
CPU core. All arms of seed 0 with measuring take some 75, and `--arms ecm lora full` of another seed some 32, as estimated from single steps.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import RESULTS, add_entries, command_line, exit_code
from ..images.study import add_options, folders_of


def main(given: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.ecm", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure", "picture", "controls"):
        command = commands.add_parser(name)
        add_options(command)
        if name != "controls":
            command.add_argument("--arms", nargs="+", help="instead of the usual ones")
        if name == "train":
            add_entries(command, "--train", "the config, for all arms")
        if name == "measure":
            command.add_argument("--results", type=Path, default=RESULTS)
            command.add_argument("--count", type=int, default=1000, help="test pictures whose edges are followed")
            command.add_argument("--held-out", type=int, help="pictures of the likelihood; default: all")
            command.add_argument("--late", type=float, nargs="+", help="late temperatures instead of 0.8 and 1.0")
            command.add_argument("--repeats", type=int, default=5, help="timed rounds of a step of each arm")
            command.add_argument(
                "--device",
                default="cpu",
                help="of likelihoods, steps and samples; training takes a GPU if there is one",
            )
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args(given))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    if arguments.command == "controls":
        from .picture import draw_controls

        draw_controls(folders_of(arguments))
        return 0
    from .arms import USUAL, study_of, train

    study, arms = study_of(folders_of(arguments), arguments.seed), tuple(arguments.arms or USUAL)
    if arguments.command == "train":
        return 0 if train(study, arms, arguments.train) else 130
    if arguments.command == "picture":
        from .picture import draw_picture

        draw_picture(study, arguments.arms)
        return 0
    from .measuring import LATE, measure_all

    measure_all(
        study,
        arms,
        arguments.results,
        count=arguments.count,
        late=arguments.late or LATE,
        held_out=arguments.held_out,
        repeats=arguments.repeats,
        device=arguments.device,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
