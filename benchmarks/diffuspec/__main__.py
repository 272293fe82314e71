"""DiffuSpec with drafters that our recipes made of the verifier itself, whole and cut.

python -m benchmarks.diffuspec train tasks --seed 0                                drafters and n-gram model; continues
python -m benchmarks.diffuspec measure tasks --seed 0                              results/diffuspec_tasks_seed0.json
AR_DATA_DIR=DATA python -m benchmarks.diffuspec train smollm2_135m       the verifier's answers, then drafters
AR_DATA_DIR=DATA python -m benchmarks.diffuspec measure smollm2_135m     results/diffuspec_smollm2_135m.json
python -m benchmarks.diffuspec plot tasks                                          tables and figure again from the results
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ar_core.config import apply_overrides
from ar_core.errors import DataError

from ..command_line import RESULTS, command_line, exit_code


def main() -> int:
    """Run one of the commands; the exit code."""
    parser = command_line("benchmarks.diffuspec", __doc__)
    parser.add_argument("command", choices=("train", "measure", "plot"))
    parser.add_argument("verifier", choices=("tasks", "smollm2_135m"))
    parser.add_argument("--seed", type=int, default=0, help="of the task models")
    parser.add_argument("--method", default="fast_dllm_v2", help="recipe of the task drafters")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trained models and of journals")
    parser.add_argument(
        "--answers", type=int, help="train smollm2_135m: prompts that the verifier answers (default: 600)"
    )
    parser.add_argument("--per-category", type=int, default=2, help="measure smollm2_135m: prompts of each kind")
    parser.add_argument("--problems", type=int, default=60, help="measure tasks: held-out problems")
    parser.add_argument("--max-new-tokens", type=int, help="measure: N (default: 64; tasks 160, room for every answer)")
    parser.add_argument("--tree-nodes", type=int, default=32, help="measure: tokens of a tree")
    parser.add_argument("--proxies", nargs="+", help="measure: of uniform, prompt, 'in-domain n-gram'")
    parser.add_argument("--policies", nargs="+", choices=("paper", "fixed", "goodput"), help="measure: draft lengths")
    parser.add_argument("--threads", type=int, default=1, help="measure: torch threads")
    parser.add_argument(
        "--output", type=Path, help="results without suffix (default: benchmarks/results/diffuspec_NAME)"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="train: entries of the drafters' configs; measure: settings of DiffuSpec",
    )
    arguments = parser.parse_intermixed_args()
    return exit_code(
        {"train": _train, "measure": _measure, "plot": _plot}[arguments.command],
        arguments,
        interrupted="what is finished is kept; the same command goes on",
    )


def _train(arguments: argparse.Namespace) -> int:
    from . import smollm2, tasks

    overrides = tuple(arguments.overrides)
    if arguments.verifier == "tasks":
        done = tasks.train(arguments.seed, arguments.runs, method=arguments.method, overrides=overrides)
    else:
        done = smollm2.train(arguments.runs, prompts=arguments.answers or smollm2.PROMPTS, overrides=overrides)
    return 0 if done else 130


def _measure(arguments: argparse.Namespace) -> int:
    import torch
    from ar_decode.output import write_text
    from ar_decode.progress import job_progress
    from ar_decode.session import load_session

    from benchmarks.data import text_folder
    from benchmarks.lossless.problems import first_of_each_kind, spec_bench

    from . import tasks
    from .arms import POLICIES, PROXIES, build_arms, known_costs
    from .measuring import measure
    from .trained import require

    torch.set_num_threads(arguments.threads)
    trained = require(_paths(arguments))
    session = load_session(trained.verifier, dtype="float32")
    settings = apply_overrides({}, arguments.overrides)
    home = trained.proxy.parent
    policies = arguments.policies or POLICIES
    arms = build_arms(
        session,
        trained,
        tree_nodes=arguments.tree_nodes,
        proxies=arguments.proxies or PROXIES,
        policies=policies,
        costs=known_costs(session, trained, settings, home / "costs.json") if "goodput" in policies else {},
        settings=settings,
    )
    if arguments.verifier == "tasks":
        tokens = arguments.max_new_tokens or tasks.ANSWER_TOKENS
        problems, data = tasks.problems(session, arguments.problems), "held-out problems of the tasks"
    else:
        tokens = arguments.max_new_tokens or 64
        problems = first_of_each_kind(
            spec_bench(text_folder() / "spec_bench.jsonl"),
            [arm.inner for arm in arms],
            per_category=arguments.per_category,
            max_new_tokens=tokens,
        )
        data = "Spec-Bench, first turns"
    output = arguments.output or RESULTS / f"diffuspec_{trained.name}"
    with job_progress() as bar:
        task = bar.add_task(trained.name, total=len(arms) * len(problems))
        results = measure(
            session,
            trained,
            arms,
            problems,
            home / f"{output.name}.journal.jsonl",
            max_new_tokens=tokens,
            data=data,
            progress=lambda: bar.advance(task),
        )
    write_text(output.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
    return _plot(arguments)


def _plot(arguments: argparse.Namespace) -> int:
    from .plotting import category_table, figure, markdown_table

    stem = arguments.output or RESULTS / f"diffuspec_{arguments.verifier}"
    several = arguments.output is None and arguments.verifier == "tasks"
    files = sorted(stem.parent.glob(f"{stem.name}{'_seed*' if several else ''}.json"))
    if not files:
        raise DataError(f"there are no results {stem.name}{'_seed*' if several else ''}.json: measure first")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    tables = f"{markdown_table(results)}\n{category_table(results)}"
    stem.with_suffix(".md").write_text(tables, encoding="utf-8")
    stem.with_suffix(".svg").write_text(figure(results) + "\n", encoding="utf-8")
    print(tables, end="")
    return 0


def _paths(arguments: argparse.Namespace) -> Any:
    from . import smollm2, tasks

    if arguments.verifier == "tasks":
        return tasks.paths(arguments.seed, arguments.runs, method=arguments.method)
    return smollm2.paths(arguments.runs)


if __name__ == "__main__":
    raise SystemExit(main())
