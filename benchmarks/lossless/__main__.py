"""Lossless decoders on Spec-Bench: equal to AR greedy, and how many tokens a pass.

AR_DATA_DIR=DATA python -m benchmarks.lossless measure --assistant runs/diffuspec/smollm2_135m/assistant/final \\
    --arm 'DiffuSpec, all layers: diffuspec drafter=runs/diffuspec/smollm2_135m/full/final tree_nodes=32'
python -m benchmarks.lossless plot                                  table and figure again from the results

60 prompts x 128 tokens; the same command goes on where it stopped. A decoder that needs settings is given them, and a name if
they are long; it then has the rows that were given, and none of its defaults. The results are those of the decoders of one
command; what it shares with an earlier one is not decoded again. What has no drafter is left out: --without diffuspec --without
'Hugging Face assisted'.
"""

import argparse
import json
from pathlib import Path

from ar_core.errors import ConfigError, DataError

from benchmarks.data import text_folder

from ..command_line import RESULTS, command_line, exit_code


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.lossless", __doc__)
    parser.add_argument("command", choices=("measure", "plot"))
    parser.add_argument("--model", default="smollm2-135m-instruct", help="as ar-decode takes it")
    parser.add_argument("--data", type=Path, help="Spec-Bench file (default: $AR_DATA_DIR/text/spec_bench.jsonl)")
    parser.add_argument("--per-category", type=int, default=10, help="the first N prompts of each kind that fit")
    parser.add_argument("--prompts", type=int, help="only the first N of those")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument(
        "--arm",
        action="append",
        default=[],
        help="a decoder with settings, 'lookup draft_length=10', or 'NAME: lookup ...'",
    )
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="a decoder that is left out")
    parser.add_argument("--assistant", help="small autoregressive model that Hugging Face's assisted generation asks")
    parser.add_argument("--dtype", default="float32", help="float32: outputs are compared token by token")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--notes", type=Path, help="journal (default: runs/lossless/NAME.jsonl)")
    parser.add_argument(
        "--output", type=Path, help="results without suffix (default: benchmarks/results/lossless_MODEL)"
    )
    arguments = parser.parse_args()
    return exit_code(
        {"measure": _measure, "plot": _plot}[arguments.command],
        arguments,
        interrupted="finished answers are kept; the same command goes on",
    )


def _measure(arguments: argparse.Namespace) -> int:
    import torch
    from ar_core.registry import decoders
    from ar_decode.progress import job_progress
    from ar_decode.session import load_session

    from .arms import default_arms, registered_arm
    from .huggingface import ASSISTED, HUGGING_FACE, huggingface_arms
    from .measuring import measure
    from .problems import first_of_each_kind, spec_bench

    torch.set_num_threads(arguments.threads)
    known = {*(name for name, record in decoders().items() if record.lossless), *HUGGING_FACE}
    if unknown := sorted(set(arguments.without) - known):
        raise ConfigError(
            f"--without {unknown[0]!r} is none of the decoders that are compared: give one of {sorted(known)}"
        )
    if arguments.assistant is None and ASSISTED not in arguments.without:
        raise ConfigError(
            f"{ASSISTED!r} needs a small model: give --assistant FOLDER (`python -m benchmarks.diffuspec train smollm2_135m` "
            f"trains one), or leave it out with --without '{ASSISTED}'"
        )
    asked = spec_bench(arguments.data or text_folder() / "spec_bench.jsonl")
    session = load_session(arguments.model, dtype=arguments.dtype)
    given = [registered_arm(session, text) for text in arguments.arm]
    registered = [*default_arms(session, [*arguments.without, *(arm.method.name for arm in given)]), *given]
    problems = first_of_each_kind(
        asked, registered, per_category=arguments.per_category, max_new_tokens=arguments.max_new_tokens
    )[: arguments.prompts]
    others = huggingface_arms(session, arguments.assistant if ASSISTED not in arguments.without else None)
    arms = [*registered, *(arm for arm in others if arm.label not in arguments.without)]
    output = _output(arguments)
    notes = arguments.notes or Path("runs") / "lossless" / f"{output.name}.jsonl"
    with job_progress() as bar:
        task = bar.add_task("lossless", total=len(arms) * len(problems))
        results = measure(
            session,
            arms,
            problems,
            notes,
            max_new_tokens=arguments.max_new_tokens,
            progress=lambda: bar.advance(task),
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return _plot(arguments)


def _plot(arguments: argparse.Namespace) -> int:
    from .plotting import figure, markdown_table

    output = _output(arguments)
    file = output.with_suffix(".json")
    if not file.is_file():
        raise DataError(f"{str(file)!r} is not there: measure first")
    results = json.loads(file.read_text(encoding="utf-8"))
    output.with_suffix(".md").write_text(markdown_table(results), encoding="utf-8")
    output.with_suffix(".svg").write_text(figure(results) + "\n", encoding="utf-8")
    print(markdown_table(results), end="")
    return 0


def _output(arguments: argparse.Namespace) -> Path:
    name = Path(arguments.model).name.removesuffix(".gguf").replace("-", "_")
    return arguments.output or RESULTS / f"lossless_{name}"


if __name__ == "__main__":
    raise SystemExit(main())
