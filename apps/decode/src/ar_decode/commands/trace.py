"""``ar-decode trace``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_result import CommandResult
from ar_core.errors import ConfigError

from ..arguments import (
    BlockSizeOption,
    DeviceOption,
    DraftLengthOption,
    DtypeOption,
    EngineOption,
    ForceOption,
    MaxNewTokensOption,
    MethodOption,
    ModelArgument,
    ProfileOption,
    SetOption,
    SubBlockSizeOption,
    ThreadsOption,
    ThresholdOption,
    WeightsOption,
    method_settings,
)

__all__ = ["EXAMPLES", "FIELDS", "trace"]

EXAMPLES = (
    "ar-decode trace smollm2-135m-instruct 'Repeat after me: one two three, one two three.' --chat --output replay.html",
    "ar-decode trace ./converted 'Tom has 12 apples.' --method fast_dllm_v2 --threshold 0.9 --output replay.html",
    "ar-decode trace ./model 'one two one two' -n 32 --play --speed 8",
)
"""Calls that the help shows."""

FIELDS = {
    "output": "the page that was written",
    "scenes": "a list, one for each prompt: title, prompt, replays, each with name, tokens and passes (phase, positions, confidences)",
}
"""Of the JSON document, with what they mean."""


def trace(
    model: ModelArgument,
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="One scene of the replay for each.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="HTML", help="The page to write.")] = Path(
        "replay.html"
    ),
    chat: Annotated[bool, typer.Option("--chat", help="Use the chat template.")] = False,
    method: MethodOption = "lookup",
    max_new_tokens: MaxNewTokensOption = 96,
    block_size: BlockSizeOption = None,
    sub_block_size: SubBlockSizeOption = None,
    threshold: ThresholdOption = None,
    draft_length: DraftLengthOption = None,
    settings: SetOption = None,
    profile: ProfileOption = None,
    dtype: DtypeOption = "stored",
    device: DeviceOption = "cpu",
    engine: EngineOption = "plain",
    weights: WeightsOption = "full",
    threads: ThreadsOption = None,
    play: Annotated[
        bool, typer.Option("--play", help="Also play it in the terminal, or list the passes in a pipe.")
    ] = False,
    speed: Annotated[
        float,
        typer.Option("--speed", min=0.1, metavar="N", help="Of --play and of the page at first, passes a second."),
    ] = 4.0,
    force: ForceOption = False,
    as_json: bool = False,
) -> CommandResult:
    """Write a page that replays, pass by pass, which tokens AR and a parallel method fixed.

    The page is one file without scripts or styles from elsewhere; it can be mailed and opened offline. Decoding is greedy.
    """
    if play and as_json:
        raise ConfigError("--play and --json were both given, and both take standard output; leave one of the two out.")
    from ..output import check_targets, write_text

    check_targets({"--output": output}, force=force, read={"--profile": profile})
    from ..fitting import check_fit
    from ..methods import Generation, build_method, load_method
    from ..prompts import Prompt
    from ..replay import Scene, render, replay_of

    given = method_settings(
        settings,
        block_size=block_size,
        sub_block_size=sub_block_size,
        threshold=threshold,
        draft_length=draft_length,
    )
    generation = Generation(max_new_tokens)
    session, chosen = load_method(
        model, method, given, profile, dtype=dtype, device=device, engine=engine, weights=weights, threads=threads
    )
    arms = [build_method("ar", session, {}, {}), chosen]
    asked = [Prompt(str(number), text) for number, text in enumerate(prompts, start=1)]
    encoded = [session.encode(prompt, chat=chat) for prompt in asked]
    check_fit(session, chosen, max_new_tokens, asked, encoded)
    scenes = []
    for prompt, ids in zip(asked, encoded, strict=True):
        replays = [
            replay_of(arm.name, arm.decode(session, [ids], generation, trace=True), session.tokenizer.decode)
            for arm in arms
        ]
        scenes.append(Scene(f"{prompt.id}: {prompt.text[:40]}", prompt.text, tuple(replays)))
    subtitle = f"{session.source}, {session.dtype} on {session.device}: AR beside {method}, greedy"
    write_text(output, render(scenes, subtitle=subtitle, speed=speed))
    if play:
        from ar_core.command_line import terminal

        from ..terminal_replay import play as played

        played(scenes, terminal(), speed=speed)
    data = {"output": output, "scenes": [asdict(scene) for scene in scenes]}
    return CommandResult("", data, notes=[f"written to {output}"])
