"""Generate text: one prompt, a chat, or a file of prompts."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ar_core.decoding import Decoded, DecodeStats, StreamedText
from rich.table import Table

from .fitting import check_fit
from .methods import Generation, Method
from .output import GrowingFile
from .progress import job_progress
from .prompts import Prompt, read_jsonl
from .session import Session

__all__ = ["chat", "decode_file", "decode_one", "statistics_table"]


def decode_one(
    session: Session, method: Method, generation: Generation, prompt: Prompt, *, use_chat: bool, stream: bool
) -> Decoded:
    """Decode one prompt and print its text, as it comes or at the end.

    Raises:
        DataError: the prompt is empty or does not fit the context.
    """
    ids = session.encode(prompt, chat=use_chat)
    check_fit(session, method, generation.max_new_tokens, [prompt], [ids])
    writer = StreamedText(session.text, sys.stdout) if stream else None
    decoded = method.decode(session, [ids], generation, on_token=writer)
    if writer is not None:
        writer.finish()
    else:
        sys.stdout.write(session.text(decoded.tokens[0]))
    sys.stdout.write("\n")
    return decoded


def chat(
    session: Session,
    method: Method,
    generation: Generation,
    read: Callable[[str], str],
) -> DecodeStats:
    """Talk until an empty line or the end of input; the whole conversation is the context of every answer.

    Args:
        session: a model whose tokenizer has a chat template.
        method: how answers are decoded.
        generation: their length and sampling.
        read: shows a prompt string and returns a line; raises ``EOFError`` at the end.

    Returns:
        Statistics of all answers.
    """
    messages: list[dict[str, str]] = []
    stats = DecodeStats()
    while True:
        try:
            line = read("> ").strip()
        except EOFError:
            return stats
        if not line:
            return stats
        messages.append({"role": "user", "content": line})
        decoded = decode_one(session, method, generation, Prompt("chat", tuple(messages)), use_chat=True, stream=True)
        messages.append({"role": "assistant", "content": session.text(decoded.tokens[0])})
        stats = stats + decoded.stats


def decode_file(
    session: Session,
    method: Method,
    generation: Generation,
    source: Path,
    target: Path | None,
    *,
    batch_size: int,
    use_chat: bool | None,
    resume: bool = False,
) -> DecodeStats:
    """Decode a JSONL file of prompts to JSONL, in the order of the input, with a progress bar on the error stream.

    Each line out has ``id``, ``prompt``, ``output``, ``tokens`` (ids), ``finish`` and ``category`` (if the input has one).

    Args:
        session: the model.
        method: how.
        generation: length and sampling; the prompt on line i draws random stream i in any batch.
        source: JSONL of prompts, all read and encoded before the first is decoded.
        target: file to write, see :class:`GrowingFile`; standard output if ``None``. Both line by line.
        batch_size: prompts decoded together.
        use_chat: chat template for all, for none, or (``None``) for conversations.
        resume: go on behind the lines that an interrupted run of the same job kept.

    Returns:
        Statistics of what this run decoded.

    Raises:
        DataError: a line is malformed, or a prompt is empty or does not fit the context; nothing was decoded then.
        ResumeError: the lines that were kept are of another job.
        CheckpointError: the target cannot be written.
    """
    prompts = read_jsonl(source)
    ids = [session.encode(prompt, chat=use_chat) for prompt in prompts]
    check_fit(session, method, generation.max_new_tokens, prompts, ids)
    job = {
        "model": session.source,
        "revision": session.revision,
        **session.runs_as,
        "method": method.describe(),
        "generation": asdict(generation),
        "prompts": hashlib.sha256(repr([(prompt.id, one) for prompt, one in zip(prompts, ids)]).encode()).hexdigest(),
    }
    stats = DecodeStats()
    lines = GrowingFile(target, job, resume=resume) if target is not None else nullcontext()
    with lines as file, job_progress() as progress:
        finished = 0 if file is None else len(file)
        task = progress.add_task(method.name, total=len(prompts), completed=finished)
        for start, rows in _batches(ids, batch_size, finished):
            decoded = method.decode(session, rows, generation, first_index=start)
            stats = stats + decoded.stats
            for offset, (tokens, finish) in enumerate(zip(decoded.tokens, decoded.finish, strict=True)):
                line = json.dumps(
                    _record(prompts[start + offset], session.text(tokens), tokens, finish), ensure_ascii=False
                )
                if file is None:
                    print(line, flush=True)
                else:
                    file.append(line)
            progress.advance(task, len(rows))
    return stats


def statistics_table(stats: DecodeStats, method: Method) -> Table:
    """What decoding cost, for people."""
    table = Table(
        title=f"{method.name}: {sum(stats.generated)} tokens", title_justify="left", show_header=False, box=None
    )
    phases = ", ".join(f"{phase} {count}" for phase, count in stats.forwards.items())
    times = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in stats.seconds.items())
    fixed = ", ".join(f"{tokens}: {count}×" for tokens, count in sorted(stats.accepted.items()))
    table.add_row("forward passes (NFE)", f"{stats.nfe} ({phases})")
    table.add_row("tokens per forward", f"{stats.tokens_per_forward:.2f} (prefill counted)")
    table.add_row("tokens per second", f"{stats.tokens_per_second:.1f} (generated tokens; {times})")
    table.add_row("tokens fixed by a pass", fixed)
    if drafts := stats.drafts():
        spent = ", ".join(f"{name} {count}" for name, count in stats.drafter.items())
        table.add_row(
            "drafts judged",
            f"{drafts['judged']} of {drafts['mean_length']:.1f} tokens, {drafts['mean_accepted']:.2f} of them right"
            + (f" (drafter: {spent})" if spent else ""),
        )
    return table


def _record(prompt: Prompt, text: str, tokens: Sequence[int], finish: str) -> dict[str, Any]:
    record = {"id": prompt.id, "prompt": prompt.text, "output": text, "tokens": list(tokens), "finish": finish}
    return {**record, "category": prompt.category} if prompt.category else record


def _batches(ids: list[list[int]], size: int, first: int) -> Iterator[tuple[int, list[list[int]]]]:
    for start in range(first, len(ids), size):
        yield start, ids[start : start + size]
