"""Generate text: one prompt, a chat, or a file of prompts."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ar_core.cluster import RayCluster
from ar_core.decoding import Decoded, DecodeStats, StreamedText
from rich.table import Table

from .file_decoder import FileDecoder, FileJob, open_decoder, survey_file
from .fitting import check_fit
from .methods import Generation, Method
from .output import GrowingFile
from .progress import job_progress
from .prompts import Prompt
from .session import Session

__all__ = ["chat", "decode_file", "decode_file_on_ray", "decode_one", "print_line", "statistics_table"]


def decode_one(
    session: Session, method: Method, generation: Generation, prompt: Prompt, *, use_chat: bool, stream: bool
) -> Decoded:
    """Decode one prompt, and with ``stream`` print its text as it comes.

    Raises:
        DataError: the prompt is empty or does not fit the context.
    """
    ids = session.encode(prompt, chat=use_chat)
    check_fit(session, method, generation.max_new_tokens, [prompt], [ids])
    writer = StreamedText(session.text, sys.stdout) if stream else None
    decoded = method.decode(session, [ids], generation, on_token=writer)
    if writer is not None:
        writer.finish()
        print_line("")
    return decoded


def print_line(line: str) -> None:
    """Print a line on standard output at once, also where that is a pipe."""
    print(line, flush=True)


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
    say: Callable[[str], None] = print_line,
) -> DecodeStats:
    """Decode a JSONL file of prompts to JSONL, in the order of the input, with a progress bar on the error stream.

    Args:
        session, method, generation, source, batch_size, use_chat: see :class:`FileDecoder`.
        target: file to write, see :class:`GrowingFile`, line by line; ``None`` has ``say`` take the lines.
        resume: go on behind the lines that an interrupted run of the same job kept.
        say: takes a line.

    Returns:
        Statistics of what this run decoded.

    Raises:
        DataError: a line is malformed, or a prompt is empty or does not fit the context; nothing was decoded then.
        ResumeError: the lines that were kept are of another job.
        CheckpointError: the target cannot be written.
    """
    decoder = FileDecoder(session, method, generation, source, batch_size=batch_size, use_chat=use_chat)
    return _written(decoder.job, target, batch_size, resume, lambda starts: map(decoder, starts), say)


def decode_file_on_ray(
    load: Callable[[], tuple[Session, Method]],
    generation: Generation,
    source: Path,
    target: Path,
    *,
    batch_size: int,
    use_chat: bool | None,
    resume: bool = False,
    address: str,
    workers: int,
    device: str,
) -> tuple[DecodeStats, dict[str, Any]]:
    """Decode a file as :func:`decode_file` does, its batches by the workers of a Ray cluster; the file is the same.

    This process loads no model and writes all lines. A batch whose worker dies is decoded again.

    Args:
        load: loads the model and builds the method, once in each worker and once in a process that looks at the prompts.
        generation, source, target, batch_size, use_chat, resume: see `decode_file`.
        address, workers, device: see :class:`ar_core.cluster.RayCluster`.

    Returns:
        Statistics of what this run decoded, times added up over the workers; name and settings of the method.

    Raises:
        ClusterError: the cluster cannot be reached, or loses worker after worker.
        ArError: as ``load`` and `decode_file` do.
    """
    settings = {"generation": generation, "source": source, "batch_size": batch_size, "use_chat": use_chat}
    with RayCluster(address, workers=workers, device=device) as cluster:
        job = FileJob(**cluster.call(survey_file, load, settings))

        def results(starts: Sequence[int]) -> Iterator[tuple[list[str], DecodeStats]]:
            for lines, stats in cluster.map(open_decoder, (load, settings, job.identity), starts):
                yield lines, DecodeStats.from_dict(stats)

        return _written(job, target, batch_size, resume, results, print_line), job.method


def _written(
    job: FileJob,
    target: Path | None,
    batch_size: int,
    resume: bool,
    results: Callable[[Sequence[int]], Iterator[tuple[list[str], DecodeStats]]],
    say: Callable[[str], None],
) -> DecodeStats:
    """Write the lines of the batches as they come."""
    stats = DecodeStats()
    growing = GrowingFile(target, job.identity, resume=resume) if target is not None else nullcontext()
    with growing as file, job_progress() as progress:
        finished = 0 if file is None else len(file)
        task = progress.add_task(str(job.method["name"]), total=job.prompts, completed=finished)
        for lines, cost in results(range(finished, job.prompts, batch_size)):
            stats = stats + cost
            for line in lines:
                if file is None:
                    say(line)
                else:
                    file.append(line)
            progress.advance(task, len(lines))
    return stats


def statistics_table(stats: DecodeStats, name: str) -> Table:
    """What decoding by the method of that name cost, for people."""
    table = Table(title=f"{name}: {sum(stats.generated)} tokens", title_justify="left", show_header=False, box=None)
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
