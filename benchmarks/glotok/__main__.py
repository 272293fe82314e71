"""GloTok's two losses, alone and together, on CIFAR-10: tokenizers of equal steps, and a FAR on the codes of each.

python -m benchmarks.glotok train --cifar10 CIFAR10 --seed 0       teacher, then of every arm tokenizer, codes, FAR; Ctrl-C and again continues
python -m benchmarks.glotok measure --cifar10 CIFAR10 --seed 0     reconstructions of test images, codebooks, samples of the FARs
python -m benchmarks.glotok plot

A short look, in folders of its own:
python -m benchmarks.glotok train --arms none both --steps 100 --far-steps 50 --codes 2000 --cifar10 CIFAR10 --runs runs/look
python -m benchmarks.glotok measure --arms none both --count 200 --test-images 500 --cifar10 CIFAR10 --runs runs/look --results runs/look

CIFAR10 is what `python -m benchmarks.cifar10 prepare` wrote. An arm takes some twelve minutes of one core with its measurements: the steps
of its configs, 20,000 pictures encoded, 5,000 reconstructed and 2,000 drawn a guidance scale. All arms of all seeds share the teacher.
"""

import argparse
from pathlib import Path

from ..command_line import RESULTS, command_line, exit_code
from ..data import staged_folder


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.glotok", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "measure"):
        command = commands.add_parser(name)
        command.add_argument(
            "--cifar10", type=Path, default=Path("CIFAR10"), help="folder of train.parquet and test.parquet"
        )
        command.add_argument("--runs", type=Path, default=Path("runs/glotok"))
        command.add_argument("--seed", type=int, default=0, help="of tokenizers, FARs and samples")
        command.add_argument("--arms", nargs="+", default=["none", "histogram", "residual", "both"])
        if name == "train":
            command.add_argument("--steps", type=int, help="of every tokenizer, instead of those of the config")
            command.add_argument("--far-steps", type=int, help="of every FAR, instead of those of the config")
            command.add_argument(
                "--codes", type=int, default=20_000, help="encode and train FAR on the first so many pictures"
            )
        else:
            command.add_argument("--results", type=Path, default=RESULTS)
            command.add_argument("--count", type=int, default=2000, help="samples of each row")
            command.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
            command.add_argument("--test-images", type=int, default=5000, help="reconstruct the first so many")
            command.add_argument(
                "--device", default="cpu", help="that tokenizers and FARs run on; training takes a GPU if there is one"
            )
    commands.add_parser("plot").add_argument("--results", type=Path, default=RESULTS)
    return exit_code(_run, parser.parse_args())


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "plot":
        from .plotting import plot

        plot(arguments.results)
        return 0
    from ..images.parts import Folders
    from .arms import GlotokStudy

    staged = staged_folder("models/")
    study = GlotokStudy(Folders(arguments.runs, arguments.cifar10, staged, arguments.seed))
    if arguments.command == "train":
        from .training import train

        done = train(
            study, arguments.arms, steps=arguments.steps, far_steps=arguments.far_steps, pictures=arguments.codes
        )
        return 0 if done else 130
    from .measuring import measure

    measure(
        study,
        arguments.results,
        arguments.arms,
        count=arguments.count,
        guidance=arguments.guidance,
        test_images=arguments.test_images,
        device=arguments.device,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
