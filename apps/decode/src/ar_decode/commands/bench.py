"""``ar-decode bench``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_result import CommandResult

from ..arguments import (
    BatchSizeOption,
    BlockSizeOption,
    DeviceOption,
    DraftLengthOption,
    EngineOption,
    ForceOption,
    MaxNewTokensOption,
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

__all__ = ["EXAMPLES", "FIELDS", "bench"]

EXAMPLES = (
    "ar-decode bench smollm2-135m-instruct --input spec_bench.jsonl --per-category 2 --method lookup -n 64",
    "ar-decode bench ./converted --input held_out.jsonl --method fast_dllm_v2 --threshold 0.9 --output result.json",
)
"""Calls that the help shows."""

FIELDS = {
    "kind": "decode",
    "model, data": "what was decoded: source and revision; file, ids of the prompts, longest output",
    "baseline, candidate": "AR and the method: settings, dtype, tokens, passes, seconds of each run, collapse",
    "speedup": "tokens per second over AR's, both at their fastest run",
    "identical, first_differences": "of greedy runs: share of outputs equal to AR's, and where the others part",
    "collapsed": "whether distinct-3 fell below 0.9 × AR's",
    "pass_cost, seconds_per_pass": "what passes of several tokens cost here",
    "rounds, batch_size": "as given",
    "command, date, commit, device, python, versions": "where it was measured",
}
"""Of the JSON document, with what they mean."""


def bench(
    model: ModelArgument,
    source: Annotated[
        Path, typer.Option("--input", "-i", metavar="JSONL", help="Prompts; Spec-Bench files work as they are.")
    ],
    per_category: Annotated[
        int, typer.Option(min=1, metavar="N", help="The first N prompts of each category that fit the context.")
    ] = 2,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default: for conversations only.")
    ] = None,
    method: MethodOption = "lookup",
    max_new_tokens: MaxNewTokensOption = 64,
    block_size: BlockSizeOption = None,
    sub_block_size: SubBlockSizeOption = None,
    threshold: ThresholdOption = None,
    draft_length: DraftLengthOption = None,
    settings: SetOption = None,
    profile: ProfileOption = None,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = 0,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Timed runs of each side, in turn.")] = 3,
    batch_size: BatchSizeOption = 1,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            metavar="DTYPE",
            help="fastest: float32 or bfloat16, whichever makes each side's own pass faster; or one dtype for both.",
        ),
    ] = "fastest",
    device: DeviceOption = "cpu",
    engine: EngineOption = "plain",
    weights: WeightsOption = "full",
    threads: ThreadsOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Default: benchmarks/results/decode_MODEL_METHOD.json."),
    ] = None,
    force: ForceOption = False,
) -> CommandResult:
    """Compare a method with AR in the same engine: passes, wall clock, and whether the text collapsed.

    Both sides run in their fastest setting, in turn; their fastest runs are compared. Tokens are generated tokens only, and
    the prefill counts as a pass. A method whose distinct-3 is below 0.9 × AR's is marked collapsed.
    """
    from ..output import check_targets, write_text

    name = Path(model).name.removesuffix(".gguf")
    target = output or Path("benchmarks", "results", f"decode_{name}_{method}.json")
    check_targets({"--output": target}, force=force, read={"--input": source, "--profile": profile})
    from ar_core.config import to_dict
    from ar_core.environment import environment
    from ar_core.verification import measure_pass_costs

    from ..bench import Arm, bench_table, fastest_dtype, pass_cost_report
    from ..bench import bench as run
    from ..fitting import check_fit, longest_prompt
    from ..methods import Generation, build_method, own_settings
    from ..profile import read_profile
    from ..progress import job_progress
    from ..prompts import first_that_fit, read_jsonl
    from ..session import load_session

    given = own_settings(
        method,
        method_settings(
            settings,
            block_size=block_size,
            sub_block_size=sub_block_size,
            threshold=threshold,
            draft_length=draft_length,
        ),
    )
    generation = Generation(max_new_tokens, temperature, seed=seed)
    prompts = read_jsonl(source)
    made = None if profile is None else read_profile(profile)
    tuned = {} if made is None else made.settings(method)
    dtypes = ["float32", "bfloat16"] if dtype == "fastest" else [dtype]
    sessions = {
        one: load_session(model, dtype=one, device=device, engine=engine, weights=weights, threads=threads)
        for one in dtypes
    }
    if made is not None:
        made.check_made_for(sessions.get(made.dtype, sessions[dtypes[0]]))
    any_session = sessions[dtypes[0]]
    trial = build_method(method, any_session, given, tuned)
    ids = [any_session.encode(prompt, chat=chat) for prompt in prompts]
    room = longest_prompt(any_session, [trial], max_new_tokens)
    chosen = first_that_fit(prompts, ids, per_category=per_category, room=room)
    chosen.sort(key=lambda pair: pair[0].category)
    check_fit(any_session, trial, max_new_tokens, *zip(*chosen, strict=True))

    width = trial.pass_tokens
    curve_points = sorted({1, 2, 4, 8, 16, 32, width} - set(range(max(width, 2) + 1, 33)))
    backbones = {one: session.backbone for one, session in sessions.items()}
    curves = measure_pass_costs(backbones, tokens=curve_points, rounds=max(4, rounds), batch=batch_size)
    # A profile says what is best in its own dtype.
    fastest = {
        "ar": fastest_dtype(curves, 1),
        method: made.dtype if made is not None and made.dtype in curves else fastest_dtype(curves, width),
    }
    tuned = {"pass_cost": to_dict(curves[fastest[method]]), **tuned}
    baseline = Arm(sessions[fastest["ar"]], build_method("ar", sessions[fastest["ar"]], {}, {}))
    candidate = Arm(sessions[fastest[method]], build_method(method, sessions[fastest[method]], given, tuned))
    with job_progress() as bar:
        task = bar.add_task("runs", total=2 * rounds)
        result = run(
            baseline,
            candidate,
            chosen,
            generation,
            rounds=rounds,
            batch_size=batch_size,
            progress=lambda: bar.advance(task),
        )
    report = {
        "kind": "decode",
        "model": {"source": any_session.source, "revision": any_session.revision},
        "data": {"file": source.name, "ids": [prompt.id for prompt, _ in chosen], "max_new_tokens": max_new_tokens},
        "pass_cost": pass_cost_report(curves, fastest["ar"], fastest[method], width),
        "seconds_per_pass": {one: dict(zip(curves[one].tokens, curves[one].seconds, strict=True)) for one in dtypes},
        **result,
        **environment(any_session.device),
    }
    write_text(target, json.dumps(report, indent=2) + "\n")
    return CommandResult("", report, renderable=bench_table(report), notes=[f"written to {target}"])
