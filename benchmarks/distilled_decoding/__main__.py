"""Distilled Decoding of the small VAR and LlamaGen of CIFAR-10, and of the LlamaGen of emoji, which `python -m benchmarks.images train` makes.

python -m benchmarks.distilled_decoding train var --cifar10 CIFAR10 --seed 0        pairs, student and control; llamagen alike
python -m benchmarks.distilled_decoding measure var --cifar10 CIFAR10 --seed 0      results/distilled_decoding_var_seed0.json; --ways: those alone
python -m benchmarks.distilled_decoding train emoji --seed 0                        the LlamaGen of texts; measure alike
python -m benchmarks.distilled_decoding plot                                        tables and figures of all measured seeds

A stopped command goes on when it is given again. All seeds have the teacher of --base-seed.
"""

import argparse
from pathlib import Path

from benchmarks.images.study import add_options, folders_of

from ..command_line import RESULTS, add_entries, command_line, exit_code
from .setups import SETUPS


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.distilled_decoding", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure"):
        command = commands.add_parser(name)
        command.add_argument("model", choices=tuple(SETUPS))
        add_options(command)
        if name == "train":
            for stage, recipe in (("pairs", "noise_code_pairs"), ("train", "distilled_decoding")):
                add_entries(command, f"--{stage}", recipe)
        else:
            command.add_argument("--count", type=int, default=5000, help="images of each way of sampling")
            command.add_argument("--ways", nargs="+", default=[], help="names of those to draw; default: all")
            command.add_argument("--repeats", type=int, default=5, help="timed rounds of each")
            command.add_argument(
                "--batch-sizes", type=int, nargs="*", default=[1, 16], help="of timed batches; none: no times"
            )
            command.add_argument("--threads", type=int, default=1, help="torch threads")
            command.add_argument("--results", type=Path, default=RESULTS, help="folder that is written to")
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS, help="folder that is read")
    arguments = parser.parse_args()
    return exit_code(_run, arguments)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        print(plot(arguments.results), end="")
        return 0
    from .training import study_of, train

    setup = SETUPS[arguments.model]
    study = study_of(setup, folders_of(arguments), arguments.seed)
    if arguments.command == "train":
        return 0 if train(setup, study, arguments.pairs, arguments.train) else 130
    import torch

    from .measuring import measure_seed

    torch.set_num_threads(arguments.threads)
    measure_seed(
        setup,
        study,
        arguments.results,
        count=arguments.count,
        repeats=arguments.repeats,
        batch_sizes=arguments.batch_sizes,
        only=arguments.ways,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
