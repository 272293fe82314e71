"""``ar-decode text``."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from ar_core.command_result import CommandResult
from ar_core.errors import ConfigError

from ..arguments import (
    BatchSizeOption,
    BlockSizeOption,
    DeviceOption,
    DraftLengthOption,
    DtypeOption,
    EngineOption,
    ForceOption,
    MaxNewTokensOption,
    MethodOption,
    MinPOption,
    ModelArgument,
    ProfileOption,
    SeedOption,
    SetOption,
    SubBlockSizeOption,
    TemperatureOption,
    ThreadsOption,
    ThresholdOption,
    TopKOption,
    TopPOption,
    WeightsOption,
    method_settings,
)

__all__ = ["EXAMPLES", "FIELDS", "text"]

EXAMPLES = (
    "ar-decode text smollm2-135m-instruct 'Why is the sky blue?' --chat --stream",
    "ar-decode text ./model 'Once upon a time' --method lookup -n 200 --temperature 0.8 --seed 1",
    "ar-decode text ./converted --input prompts.jsonl --output out.jsonl --method fast_dllm_v2 --threshold 0.9 -b 8",
    "ar-decode text smollm2-135m-instruct --chat",
)
"""Calls that the help shows."""

FIELDS = {
    "answers": "a list: id, prompt, output, tokens (ids), finish (why it ended), category; null with --output, which holds them",
    "output": "the file of --output; null without",
    "method": "name and settings",
    "statistics": "passes, tokens per forward, tokens per second, time by phase, tokens fixed by a pass, drafts",
}
"""Of the JSON document, with what they mean."""


def text(
    model: ModelArgument,
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="One prompt; without it, --input or an interactive --chat.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--input", "-i", metavar="JSONL", help='Lines with "prompt", "messages" or "turns".')
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="JSONL", help="Default: standard output.")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default: for conversations only.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print tokens as soon as they are final.")] = False,
    method: MethodOption = "ar",
    max_new_tokens: MaxNewTokensOption = 256,
    block_size: BlockSizeOption = None,
    sub_block_size: SubBlockSizeOption = None,
    threshold: ThresholdOption = None,
    draft_length: DraftLengthOption = None,
    settings: SetOption = None,
    profile: ProfileOption = None,
    temperature: TemperatureOption = 0.0,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    seed: SeedOption = 0,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="TEXT", help="End an output before this text or special token; repeatable."),
    ] = None,
    batch_size: BatchSizeOption = 1,
    dtype: DtypeOption = "stored",
    device: DeviceOption = "cpu",
    engine: EngineOption = "plain",
    weights: WeightsOption = "full",
    threads: ThreadsOption = None,
    statistics: Annotated[
        Path | None, typer.Option("--statistics", metavar="JSON", help="Also write the statistics to a file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run of the same job stopped.")
    ] = False,
    force: ForceOption = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="local|auto|HOST:PORT",
            help="Decode --input on a Ray cluster: of this machine, or a running one.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="Processes on the Ray cluster, each with the model."),
    ] = None,
    as_json: bool = False,
) -> CommandResult:
    """Generate text from one prompt, in a chat, or for a file of prompts."""
    _check_sources(prompt, source, output, chat, stream, batch_size)
    if as_json and (stream or (prompt is None and source is None)):
        raise ConfigError(
            f"--json prints one document at the end, and {'--stream' if stream else 'a conversation'} prints as it goes; leave one of the two out."
        )
    if resume and (output is None or force):
        raise ConfigError(
            f"--resume was given {'without --output' if output is None else 'with --force'}; it goes on with the lines that "
            "an interrupted run kept for --output, and --force overwrites them."
        )
    _check_filters(temperature, top_k, top_p, min_p)
    if (ray is None) != (workers is None) or (ray is not None and (source is None or output is None)):
        # Standard output is where Ray tells what became of its workers.
        raise ConfigError(
            "a Ray cluster decodes the prompts of a file to a file: give --ray ADDRESS, --workers N, --input FILE and --output FILE, "
            "or neither of the first two."
        )
    from ..output import check_targets, write_text

    results = {"--output": output, "--statistics": statistics}
    check_targets(results, force=force, resume=resume, read={"--input": source, "--profile": profile})
    from ..file_decoder import answer_record
    from ..methods import Generation, load_method
    from ..prompts import Prompt
    from ..text import chat as converse
    from ..text import decode_file, decode_file_on_ray, decode_one, print_line, statistics_table

    given = method_settings(
        settings,
        block_size=block_size,
        sub_block_size=sub_block_size,
        threshold=threshold,
        draft_length=draft_length,
    )
    generation = Generation(max_new_tokens, temperature, top_k, top_p, min_p, seed, tuple(stop or ()))
    load = partial(
        load_method,
        model,
        method,
        given,
        profile,
        dtype=dtype,
        device=device,
        engine=engine,
        weights=weights,
        threads=threads,
    )
    answers: list[dict[str, Any]] | None = None
    if source is not None and output is not None and ray is not None and workers is not None:
        stats, described = decode_file_on_ray(
            load,
            generation,
            source,
            output,
            batch_size=batch_size,
            use_chat=chat,
            resume=resume,
            address=ray,
            workers=workers,
            device=device,
        )
    else:
        session, chosen = load()
        described = chosen.describe()
        if source is not None:
            lines: list[str] = []
            stats = decode_file(
                session,
                chosen,
                generation,
                source,
                output,
                batch_size=batch_size,
                use_chat=chat,
                resume=resume,
                say=lines.append if as_json else print_line,
            )
            answers = None if output is not None else [json.loads(line) for line in lines]
        elif prompt is not None:
            one = Prompt("1", prompt)
            decoded = decode_one(session, chosen, generation, one, use_chat=bool(chat), stream=stream)
            stats = decoded.stats
            told = session.text(decoded.tokens[0])
            if not stream and not as_json:
                print_line(told)
            answers = [answer_record(one, told, decoded.tokens[0], decoded.finish[0])]
        else:
            stats = converse(session, chosen, generation, input)
    record = {"method": described, **stats.to_dict()}
    if statistics is not None:
        write_text(statistics, json.dumps(record, indent=2) + "\n")
    data = {"answers": answers, "output": output, "method": described, "statistics": stats.to_dict()}
    return CommandResult("", data, notes=[statistics_table(stats, method)])


def _check_sources(
    prompt: str | None,
    source: Path | None,
    output: Path | None,
    chat: bool | None,
    stream: bool,
    batch_size: int,
) -> None:
    if prompt is not None and source is not None:
        raise ConfigError("a prompt and --input were both given; give one of the two.")
    if prompt is None and source is None and not chat:
        raise ConfigError("no prompt was given; give a PROMPT, --input FILE, or --chat for a conversation.")
    if output is not None and source is None:
        raise ConfigError(
            "--output was given without --input; redirect standard output to keep the text of one prompt."
        )
    if stream and source is not None:
        raise ConfigError("--stream was given with --input, whose outputs are lines of JSON; leave one of the two out.")
    if batch_size != 1 and source is None:
        raise ConfigError(
            f"--batch-size {batch_size} was given for a single prompt; leave it out, or give several prompts with --input FILE."
        )


def _check_filters(temperature: float, top_k: int | None, top_p: float | None, min_p: float | None) -> None:
    filters = {"--top-k": top_k, "--top-p": top_p, "--min-p": min_p}
    given = [name for name, value in filters.items() if value is not None]
    if temperature == 0 and given:
        raise ConfigError(
            f"{given[0]} was given at temperature 0, where the most probable token is taken and no filter matters; leave it out, "
            "or give a --temperature above 0."
        )
