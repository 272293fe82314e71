"""``ar-decode eval``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from ar_core.command_line import completed
from ar_core.command_result import CommandResult
from ar_core.errors import ConfigError

from ..arguments import (
    BlockSizeOption,
    DeviceOption,
    DraftLengthOption,
    DtypeOption,
    EngineOption,
    ForceOption,
    MethodOption,
    ModelArgument,
    ProfileOption,
    SeedOption,
    SetOption,
    SubBlockSizeOption,
    TemperatureOption,
    ThreadsOption,
    ThresholdOption,
    WeightsOption,
    method_settings,
)
from ..completion import complete_protocols, complete_tasks

__all__ = ["EXAMPLES", "FIELDS", "evaluate"]

EXAMPLES = (
    "ar-decode eval smollm2-135m-instruct gsm8k --data gsm8k_test.jsonl --limit 100 --method lookup -n 512",
    "ar-decode eval ./converted humaneval --method fast_dllm_v2 --sweep threshold=0.7,0.9,1 --baseline ./base",
    "ar-decode eval ./model spec_bench --data spec_bench.jsonl --per-category 10 --method jacobi -n 128",
    "ar-decode eval ./converted multiple_choice --data arc.jsonl --method fast_dllm_v2 --likelihood nelbo --samples 64",
)
"""Calls that the help shows."""

FIELDS = {
    "kind": "eval",
    "task, protocol": "what was asked, and how prompts are put",
    "model, baseline": "source and revision of both",
    "data": "source, sha256, ids of the problems, length and sampling",
    "likelihood": "of likelihood tasks: estimators and samples",
    "rows": "one for each arm: accuracy with its standard error, tokens per forward, passes, seconds, speed, collapse",
    "aup": "accuracy under parallelism of each method",
    "batch": "problems decoded together",
    "resumed_with": "pieces that an earlier run had finished",
    "environment": "command, date, commit, device, versions",
}
"""Of the JSON document, with what they mean."""


def evaluate(
    model: ModelArgument,
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="gsm8k, humaneval, mbpp, spec_bench, or another installed one.",
            autocompletion=complete_tasks,
        ),
    ],
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="JSON Lines file; default: the task's set on the hub.")
    ] = None,
    examples: Annotated[
        str | None, typer.Option("--examples", metavar="FILE", help="Solved problems for few-shot protocols.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="How prompts are put; default: the task's first.",
            autocompletion=complete_protocols,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N problems only.")] = None,
    per_category: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The first N of each category that fit the context.")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default: as the protocol asks.")
    ] = None,
    method: MethodOption = "lookup",
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="KEY=V,V", help="The method once with each value, e.g. threshold=0.7,0.9."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="MODEL", help="Model of the AR arm; default: MODEL itself.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", "-n", min=1, metavar="N", help="Default: the protocol's.")
    ] = None,
    block_size: BlockSizeOption = None,
    sub_block_size: SubBlockSizeOption = None,
    threshold: ThresholdOption = None,
    draft_length: DraftLengthOption = None,
    settings: SetOption = None,
    profile: ProfileOption = None,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = 0,
    likelihood: Annotated[
        str,
        typer.Option(
            "--likelihood",
            metavar="NAME",
            help="Of likelihood tasks: auto, causal, chain, nelbo or first_token.",
            autocompletion=completed(("auto", "causal", "chain", "nelbo", "first_token")),
        ),
    ] = "auto",
    samples: Annotated[int, typer.Option(min=1, metavar="K", help="Samples of the likelihood nelbo.")] = 32,
    dtype: DtypeOption = "stored",
    device: DeviceOption = "cpu",
    engine: EngineOption = "plain",
    weights: WeightsOption = "full",
    threads: ThreadsOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Default: benchmarks/results/eval_MODEL_TASK_METHOD.json."),
    ] = None,
    force: ForceOption = False,
) -> CommandResult:
    """Measure a method's accuracy and its speed on a task, beside AR in the same engine.

    Problems are solved one at a time, by each arm in turn. Every finished one is noted in a .jsonl file beside the result; the
    same command continues where a job was stopped. Generated programs run in a sandboxed process.
    """
    from ar_core.config import expand_path
    from ar_core.registry import evaluation
    from ar_core.result_files import require_apart

    from ..output import check_targets, write_text

    record = evaluation(task)
    name = Path(model).name.removesuffix(".gguf")
    target = output or Path("benchmarks", "results", f"eval_{name}_{task}_{method}.json")
    notes = target.with_suffix(".jsonl")
    read = {"--data": data, "--examples": examples, "--profile": profile}
    require_apart(
        {"--output": target, "the journal of --output": notes},
        {one: None if path is None else expand_path(str(path)) for one, path in read.items()},
    )
    check_targets({"--output": target}, force=force)
    if limit is not None and per_category is not None:
        raise ConfigError("--limit and --per-category were both given; give one of the two.")
    from ar_core.environment import environment
    from ar_core.evaluation import Benchmark, Journal, LikelihoodBenchmark
    from ar_core.hf import check_source

    from ..evaluation import BASELINE, KEY, EvalArm, aup_by_method, fingerprint, generate, rows_of, score
    from ..evaluation_table import evaluation_table
    from ..evaluation_task import build_benchmark, select
    from ..likelihood import check_estimator
    from ..methods import Generation, build_method, load_method, own_settings
    from ..progress import job_progress
    from ..session import load_session

    given = method_settings(
        settings,
        block_size=block_size,
        sub_block_size=sub_block_size,
        threshold=threshold,
        draft_length=draft_length,
    )
    variants = _variants(method, given, sweep)
    for one in variants.values():
        own_settings(method, one)
    for source in (model, *([] if baseline is None else [baseline])):
        check_source(source)
    benchmark = build_benchmark(record, data, protocol, examples)
    generates = isinstance(benchmark, Benchmark)
    generation = Generation(
        max_new_tokens or (benchmark.max_new_tokens if isinstance(benchmark, Benchmark) else 1),
        temperature,
        seed=seed,
        stop_strings=benchmark.stop_strings if isinstance(benchmark, Benchmark) else (),
        keep_string=True,
    )
    session, _ = load_method(
        model,
        method,
        next(iter(variants.values())),
        profile,
        dtype=dtype,
        device=device,
        engine=engine,
        weights=weights,
        threads=threads,
    )
    reference = (
        session
        if baseline is None
        else load_session(baseline, dtype=dtype, device=device, engine=engine, weights=weights, threads=threads)
    )
    tuned = _tuned(profile, method)
    arms = [EvalArm(BASELINE, reference, build_method("ar", reference, {}, {}))]
    if method != "ar":
        arms += [EvalArm(label, session, build_method(method, session, one, tuned)) for label, one in variants.items()]
    elif baseline is not None:
        arms.append(EvalArm("ar of MODEL", session, build_method("ar", session, {}, {})))
    problems = select(
        arms,
        benchmark.problems,
        generation.max_new_tokens if generates else None,
        limit=limit,
        per_category=per_category,
        chat=chat,
    )
    asked = {arm.label: "causal" if arm.method.name == "ar" else likelihood for arm in arms}
    estimators = {} if generates else {arm.label: check_estimator(arm.method, asked[arm.label]) for arm in arms}
    job: dict[str, Any] = {
        "task": task,
        "protocol": dict(benchmark.describe()),
        "data": fingerprint([problem for problem, _ in problems]),
        "arms": {arm.label: arm.describe() for arm in arms},
        "device": reference.device,
        "generation": {"max_new_tokens": generation.max_new_tokens, "temperature": temperature, "seed": seed},
        "chat": chat,
        "likelihood": {"estimators": estimators, "samples": samples},
    }
    if force:
        notes.unlink(missing_ok=True)
    with Journal(notes, job, KEY) as journal, job_progress() as bar:
        before = len(journal)
        waiting = bar.add_task(task, total=len(arms) * len(problems))
        try:
            if isinstance(benchmark, Benchmark):
                generate(arms, benchmark, problems, generation, journal, lambda: bar.advance(waiting))
            else:
                assert isinstance(benchmark, LikelihoodBenchmark)
                score(
                    arms,
                    benchmark,
                    [problem for problem, _ in problems],
                    journal,
                    lambda: bar.advance(waiting),
                    estimators=estimators,
                    samples=samples,
                    seed=seed,
                )
        except KeyboardInterrupt:
            typer.echo(
                f"interrupted: {len(journal)} finished pieces are kept in {str(notes)!r}; the same command goes on.",
                err=True,
            )
            raise
        rows = rows_of(arms, journal)
    report = {
        "kind": "eval",
        "task": task,
        "protocol": job["protocol"],
        "model": {"source": session.source, "revision": session.revision},
        "baseline": {"source": reference.source, "revision": reference.revision},
        "data": {
            "source": Path(data).name if data is not None else (record.data.path if record.data else "generated"),
            "sha256": job["data"],
            "ids": [problem.id for problem, _ in problems],
            **job["generation"],
        },
        **({} if generates else {"likelihood": job["likelihood"]}),
        "batch": 1,
        "rows": rows,
        "aup": aup_by_method(rows),
        "resumed_with": before,
        "environment": environment(session.device),
    }
    write_text(target, json.dumps(report, indent=2) + "\n")
    said = f"written to {target}; every answer is in {notes}"
    return CommandResult("", report, renderable=evaluation_table(report), notes=[said])


def _variants(method: str, given: dict[str, Any], sweep: str | None) -> dict[str, dict[str, Any]]:
    """Settings by label: one for each value of the sweep, or the given ones alone."""
    from ar_core.config import apply_overrides

    if sweep is None:
        return {method: given}
    key, equals, values = sweep.partition("=")
    listed = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not key.strip() or not listed:
        raise ConfigError(f"--sweep {sweep!r} is not KEY=VALUE,VALUE; give for example threshold=0.7,0.9.")
    if key.strip() in given:
        raise ConfigError(f"{key.strip()!r} was given and is swept too; give it once.")
    if method == "ar":
        raise ConfigError("the method 'ar' has no settings to sweep; name another --method.")
    return {f"{method} {key.strip()}={value}": apply_overrides(given, [f"{key.strip()}={value}"]) for value in listed}


def _tuned(profile: Path | None, method: str) -> dict[str, Any]:
    from ..profile import read_profile

    return {} if profile is None else dict(read_profile(profile).settings(method))
