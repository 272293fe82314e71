"""``ar-decode bench``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..arguments import (
    BatchSizeOption,
    BlockSizeOption,
    DeviceOption,
    DraftLengthOption,
    ForceOption,
    MaxNewTokensOption,
    MethodOption,
    ModelArgument,
    ProfileOption,
    SeedOption,
    SetOption,
    SubBlockSizeOption,
    TemperatureOption,
    ThresholdOption,
    method_settings,
)

__all__ = ["EXAMPLES", "bench"]

EXAMPLES = (
    "ar-decode bench smollm2-135m-instruct --input spec_bench.jsonl --per-category 2 --method lookup -n 64",
    "ar-decode bench ./converted --input held_out.jsonl --method fast_dllm_v2 --threshold 0.9 --output result.json",
)


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
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Default: benchmarks/results/decode_MODEL_METHOD.json."),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Compare a method with AR in the same engine: passes, wall clock, and whether the text collapsed.

    Both sides run in their fastest setting, in turn; their fastest runs are compared. Tokens are generated tokens only, and
    the prefill counts as a pass. A method whose distinct-3 is below 0.9 × AR's is marked collapsed.
    """
    from ..output import refuse_existing, write_text

    name = Path(model).name.removesuffix(".gguf")
    target = output or Path("benchmarks", "results", f"decode_{name}_{method}.json")
    refuse_existing(target, force=force)
    from rich.console import Console
    from rich.progress import Progress

    from ..bench import Arm, bench_table, fastest_dtype, merge_minima
    from ..bench import bench as run
    from ..environment import environment
    from ..methods import Generation, build_method
    from ..profile import read_profile
    from ..prompts import first_that_fit, read_jsonl
    from ..session import load_session

    given = method_settings(
        settings,
        block_size=block_size,
        sub_block_size=sub_block_size,
        threshold=threshold,
        draft_length=draft_length,
    )
    prompts = read_jsonl(source)
    measured = read_profile(profile, method)
    dtypes = ["float32", "bfloat16"] if dtype == "fastest" else [dtype]
    sessions = {one: load_session(model, dtype=one, device=device) for one in dtypes}
    any_session = sessions[dtypes[0]]
    width = build_method(method, any_session, given, measured).pass_tokens
    curve_points = sorted({1, 2, 4, 8, 16, 32, width} - set(range(max(width, 2) + 1, 33)))
    curves = merge_minima(sessions, curve_points, rounds=max(4, rounds), batch=batch_size)
    fastest = {n: fastest_dtype(curves, n) for n in (1, width)}
    curve = curves[fastest[width]]
    measured = {"pass_cost": {"tokens": list(curve.tokens), "seconds": list(curve.seconds)}, **measured}

    generation = Generation(max_new_tokens, temperature, seed=seed)
    room = any_session.backbone.context_length - max_new_tokens
    ids = [any_session.encode(prompt, chat=chat) for prompt in prompts]
    chosen = first_that_fit(prompts, ids, per_category=per_category, room=room)
    chosen.sort(key=lambda pair: pair[0].category)
    baseline = Arm(sessions[fastest[1]], build_method("ar", sessions[fastest[1]], {}, {}))
    candidate = Arm(sessions[fastest[width]], build_method(method, sessions[fastest[width]], given, measured))
    with Progress(console=Console(stderr=True)) as bar:
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
        "pass_cost": {"tokens": width, "ratio": curve.ratio(width), "curve": measured["pass_cost"]},
        "seconds_per_pass": {one: dict(zip(curves[one].tokens, curves[one].seconds, strict=True)) for one in dtypes},
        **result,
        **environment(any_session.device),
    }
    write_text(target, json.dumps(report, indent=2) + "\n")
    Console().print(bench_table(report))
    typer.echo(f"written to {target}", err=True)
