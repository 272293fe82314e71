"""CCA against guidance on the small models of CIFAR-10.

python -m benchmarks.cca train var --cifar10 CIFAR10 --seed 0      from that of benchmarks.images; Ctrl-C and again continues
python -m benchmarks.cca measure var --cifar10 CIFAR10 --seed 0    base at every guidance, arms without
python -m benchmarks.cca train llamagen --cifar10 CIFAR10          and measure llamagen
python -m benchmarks.cca train var --loss dpo unlearning --weights 10 --cifar10 CIFAR10
python -m benchmarks.cca plot

All seeds start from the models of `--base-seed`. Log-probabilities of the base are stored once for all arms of a seed. Arms have
5 % of the base's steps.
"""

import argparse
from pathlib import Path

from ..command_line import RESULTS, command_line, exit_code
from ..images.study import add_options, folders_of


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.cca", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure"):
        command = commands.add_parser(name)
        command.add_argument("base", help="var or llamagen")
        add_options(command)
        command.add_argument("--results", type=Path, default=RESULTS)
        command.add_argument("--loss", nargs="+", choices=("cca", "dpo", "unlearning"), default=["cca"])
        command.add_argument("--beta", type=float, nargs="+", help="instead of that of the recipe")
        command.add_argument("--weights", type=float, nargs="+", help="lambdas instead of the usual ones")
        if name == "train":
            command.add_argument("--steps", type=int, help="fewer than 5 %% of the base's")
        else:
            command.add_argument("--count", type=int, default=5000, help="images of each row")
            command.add_argument(
                "--guidance", type=float, nargs="+", help="scales of the base instead of the usual ones"
            )
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args())


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    from ar_core.registry import recipe
    from ar_core.training import read_run_config

    from ..images.measuring import GUIDANCE
    from .arms import WEIGHTS, Arm, study_of
    from .measuring import measure
    from .training import train

    study = study_of(arguments.base, folders_of(arguments), arguments.seed)
    betas = arguments.beta or [read_run_config(recipe("cca"), f"cifar10_{study.base}").method.beta]
    arms = [
        Arm(loss, beta, weight) for loss in arguments.loss for beta in betas for weight in arguments.weights or WEIGHTS
    ]
    if arguments.command == "train":
        return 0 if train(study, arms, steps=arguments.steps) else 130
    scales = arguments.guidance or GUIDANCE
    measure(study, arguments.results, arms, count=arguments.count, guidance=scales)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
