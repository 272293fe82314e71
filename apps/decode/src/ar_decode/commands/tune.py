"""``ar-decode tune``."""

from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_result import CommandResult
from ar_core.errors import ConfigError

from ..arguments import (
    BlockSizeOption,
    DeviceOption,
    DtypeOption,
    EngineOption,
    ForceOption,
    MaxNewTokensOption,
    MethodOption,
    ModelArgument,
    SetOption,
    ThreadsOption,
    ThresholdOption,
    WeightsOption,
    method_settings,
)

__all__ = ["EXAMPLES", "FIELDS", "tune"]

EXAMPLES = (
    "ar-decode tune smollm2-135m-instruct --dtype bfloat16 --output profile.json",
    "ar-decode tune ./converted --method fast_dllm_v2 --input held_out.jsonl --output profile.json",
    "ar-decode text ./converted 'Tom has' --method fast_dllm_v2 --profile profile.json",
)
"""Calls that the help shows."""

FIELDS = {
    "model, dtype, engine, weights": "what was measured",
    "context, batch": "tokens in the cache, rows of a pass",
    "tokens, seconds": "width of each timed pass, and its least time",
    "methods": "for each tuned method, its settings",
    "explanation": "sentences that say why these",
    "environment": "command, date, commit, device, versions",
}
"""Of the JSON document, with what they mean."""


def tune(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="JSON", help="The profile to write.")] = Path(
        "profile.json"
    ),
    method: MethodOption = "lookup",
    source: Annotated[
        Path | None, typer.Option("--input", "-i", metavar="JSONL", help="Prompts on which a block method is tried.")
    ] = None,
    count: Annotated[
        int, typer.Option("--prompts", min=1, metavar="N", help="How many of them: the first that fit.")
    ] = 4,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default: for conversations only.")
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="Least share of an output that must equal one token per pass."
        ),
    ] = 0.9,
    max_new_tokens: MaxNewTokensOption = 64,
    block_size: BlockSizeOption = None,
    threshold: ThresholdOption = None,
    settings: SetOption = None,
    context: Annotated[int, typer.Option(min=1, metavar="N", help="Tokens in the cache while passes are timed.")] = 256,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, metavar="B", help="Rows of a timed pass.")
    ] = 1,
    rounds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Each pass is timed so often; the minimum counts.")
    ] = 10,
    dtype: DtypeOption = "stored",
    device: DeviceOption = "cpu",
    engine: EngineOption = "plain",
    weights: WeightsOption = "full",
    threads: ThreadsOption = None,
    force: ForceOption = False,
) -> CommandResult:
    """Measure what passes of several tokens cost on this device, and choose settings from it.

    Times passes of 1, 2, 4, 8, 16 and 32 tokens, in turn. For lookup and jacobi that decides the draft length; for a block
    method, the prompts of --input are decoded with several block sizes and thresholds, and the fastest setting is taken
    whose outputs still agree with one token per pass; what is given is not varied. The profile says why; decoding commands read it with --profile.
    """
    from ..output import check_targets

    check_targets({"--output": output}, force=force, read={"--input": source})
    from ar_core.config import to_dict
    from ar_core.environment import environment
    from ar_core.verification import measure_pass_cost

    from ..fitting import check_fit, longest_prompt
    from ..methods import DIFFUSION_BLOCK_SIZE, Generation, build_method, own_settings
    from ..profile import Profile, model_identity
    from ..progress import job_progress
    from ..prompts import first_that_fit, read_jsonl
    from ..session import load_session
    from ..tune import candidates, choose_draft_length, choose_point, sweep

    given = own_settings(method, method_settings(settings, block_size=block_size, threshold=threshold))
    prompts = read_jsonl(source) if source is not None else []
    generation = Generation(max_new_tokens)
    session = load_session(model, dtype=dtype, device=device, engine=engine, weights=weights, threads=threads)
    trial = build_method(method, session, given, {})
    blocks = hasattr(trial.options, "threshold")
    if blocks and source is None:
        raise ConfigError(f"the method {method!r} is tuned on prompts; give some with --input FILE.")
    if not blocks and not hasattr(trial.options, "draft_length"):
        raise ConfigError(
            f"the method {method!r} has neither blocks nor drafts, so there is nothing to tune; name another one."
        )
    if not blocks and source is not None:
        raise ConfigError(f"the method {method!r} is tuned without prompts; leave --input out.")

    tried = candidates(session, method, given) if blocks else []
    ids = [session.encode(prompt, chat=chat) for prompt in prompts]
    chosen = []
    if blocks:
        room = longest_prompt(session, [one.method for one in tried], max_new_tokens)
        chosen = first_that_fit(prompts, ids, per_category=count, room=room)[:count]
        check_fit(session, trial, max_new_tokens, *zip(*chosen, strict=True))
    cost = measure_pass_cost(session.backbone, context=context, batch=batch_size, rounds=rounds)
    assert cost.context is not None
    if blocks:
        with job_progress() as bar:
            task = bar.add_task("settings", total=len(tried))
            points = sweep(
                session,
                tried,
                [one for _, one in chosen],
                cost,
                generation=generation,
                progress=lambda: bar.advance(task),
            )
        best, reasons = choose_point(points, cost, agreement=agreement)
        size = DIFFUSION_BLOCK_SIZE if hasattr(trial.options, DIFFUSION_BLOCK_SIZE) else "block_size"
        tuned = {size: best.block_size, "threshold": best.threshold}
    else:
        length, reasons = choose_draft_length(cost, given.get("draft_length"))
        tuned = {"draft_length": length}
    profile = Profile(
        model=model_identity(session.source),
        dtype=session.dtype,
        engine=session.engine,
        weights=session.weights,
        context=cost.context,
        batch=batch_size,
        tokens=cost.tokens,
        seconds=cost.seconds,
        methods={method: {**given, **tuned}},
        explanation=tuple(reasons),
        environment=environment(session.device),
    )
    profile.write(output)
    return CommandResult("\n".join(reasons), to_dict(profile), notes=[f"written to {output}"])
