"""The command that answers questions about images."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ar_core.command_result import CommandResult
from ar_core.config import expand_path
from ar_core.data.progress import track
from ar_core.decoding import Decoded, DecodeStats, StreamedText
from ar_core.errors import ConfigError
from ar_core.evaluation import Journal
from ar_core.io import atomic_file
from ar_core.pictures import read_picture
from ar_core.quiet import is_quiet
from ar_core.result_files import require_apart

from ..chat.conversation import MARKER, Turn, read_turns
from ..model import ImageFeatures
from .options import DecodingOptions
from .requests import Request, read_requests
from .session import Session, open_session

__all__ = ["VlmOptions", "answer", "answer_file", "summary"]


@dataclass(frozen=True, kw_only=True)
class VlmOptions(DecodingOptions):
    """What is asked, and where the answers go.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    prompt: str | None = None
    """The question; `<image>` says where an image stands, if there are several; a single one goes in front wherever it is named, as
    in training. Null with `input` or `chat`."""
    image: Path | None = None
    """One picture file."""
    images: tuple[Path, ...] = ()
    """Several picture files, in the order of their places."""
    input: Path | None = None
    """A file of questions, JSON Lines: `prompt` (or `question`, `conversations`, `messages`), `image` (or
    `images`), `id`; in place of `prompt`."""
    output: Path | None = None
    """With `input`: JSON Lines of answers. An interrupted run leaves its answers in OUTPUT.partial; the same command goes on."""
    image_root: Path | None = None
    """With `input`: folder of relative image paths; null: the file's own."""
    chat: bool = False
    """Talk: every line is a question, with the conversation so far; images stand in the first and are encoded once. An empty line
    ends it."""
    stream: bool = False
    """Print tokens as soon as they are final."""
    json: bool = False
    """With `prompt`: print one JSON object with answer, ids, reason of the end and statistics in place of the answer."""
    statistics: Path | None = None
    """File for the statistics, JSON."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = [name for name in ("prompt", "input") if getattr(self, name) is not None]
        if self.chat:
            asked.append("chat")
        if len(asked) != 1:
            given = " and ".join(asked) or "none of them"
            raise ConfigError(f"give exactly one of prompt, input and chat=true; {given} was given")
        if self.prompt is not None and not self.prompt.strip():
            raise ConfigError(f"prompt is {self.prompt!r}, which asks nothing: give a text")
        if (self.input is None) != (self.output is None):
            raise ConfigError("input and output go together: give both, or neither")
        if self.input is not None and (self.image is not None or self.images):
            raise ConfigError("image is given beside input, whose records name their images: drop it")
        if self.input is None and self.image_root is not None:
            raise ConfigError("image_root is given without input: drop it")
        if self.image is not None and self.images:
            raise ConfigError("image and images were both given: give images=[...] alone")
        if Path() in self.all_images:
            raise ConfigError(
                "image is empty, or the folder '.', but must be the file of a picture: name one, or leave it out"
            )
        if self.json and (self.stream or self.chat):
            raise ConfigError(
                "json prints one object at the end, so it goes neither with stream nor with chat: drop one"
            )
        if self.json and self.input is not None:
            raise ConfigError("json prints the object of one answer, and input writes one a line to output: drop json")
        if self.stream and self.input is not None:
            raise ConfigError("stream shows one answer at a time, and input has many: drop stream")

    @property
    def all_images(self) -> tuple[Path, ...]:
        """The pictures of the one prompt or the chat."""
        return (self.image,) if self.image is not None else self.images


def answer(options: VlmOptions) -> CommandResult:
    """Answer, and say what was done.

    Returns:
        The answer (empty where it was streamed), the JSON object, or a line about the file that was written; the data are those of the
        JSON object in every case.

    Raises:
        ArError: whatever cannot be used.
    """
    output, statistics, asked = (
        None if path is None else expand_path(str(path)) for path in (options.output, options.statistics, options.input)
    )
    unfinished = None if output is None else journal_of(output)
    require_apart({"output": output, "the unfinished output": unfinished, "statistics": statistics}, {"input": asked})
    for target in (output, statistics):
        if target is not None and target.exists():
            raise ConfigError(f"the file {str(target)!r} exists already: move it away, or give another place")
    session = open_session(options)
    said: str
    record: dict[str, Any] = {}
    if options.input is not None:
        assert output is not None
        requests = read_requests(options.input, options.image_root, limit=session.processor.config.max_images)
        stats = answer_file(session, requests, output)
        said = f"{len(requests)} answers written to {output}"
        record = {"written": str(output), "count": len(requests)}
    elif options.chat:
        stats = chat(session, options.all_images, input)
        said = ""
    else:
        pictures = _pictures(options.all_images)
        decoded = _one(session, _question(options.prompt or ""), pictures, {}, stream=options.stream)
        stats = decoded.stats
        text = session.text(decoded.tokens[0])
        said = "" if options.stream else text
        record = {"output": text, "tokens": decoded.tokens[0], "finish": decoded.finish[0]}
    data = {**record, "settings": session.describe(), "statistics": stats.to_dict()}
    if options.json:
        said = json.dumps(data, ensure_ascii=False)
    if not options.json and not is_quiet():
        print(summary(stats), file=sys.stderr)
    if statistics is not None:
        with atomic_file(statistics) as temporary:
            temporary.write_text(
                json.dumps({**session.describe(), **stats.to_dict()}, indent=2) + "\n", encoding="utf-8"
            )
    return CommandResult(said, data)


def summary(stats: DecodeStats) -> str:
    """What decoding cost, in a line for people."""
    phases = ", ".join(f"{phase} {count}" for phase, count in stats.forwards.items())
    tower = f"; {stats.encoder['images']} images" if stats.encoder else ""
    return (
        f"{sum(stats.generated)} tokens, {stats.nfe} forward passes ({phases}), {stats.tokens_per_forward:.2f} tokens per forward, "
        f"{stats.tokens_per_second:.1f} per second{tower}"
    )


def chat(session: Session, images: tuple[Path, ...], read: Callable[[str], str]) -> DecodeStats:
    """Talk until an empty line or the end of input; images stand in the first question, and the tower runs over them once.

    Args:
        session: the model.
        images: of the whole conversation.
        read: shows a prompt string and returns a line; raises ``EOFError`` at the end.
    """
    pictures = _pictures(images)
    known: dict[str, ImageFeatures] = {}
    turns: list[Turn] = []
    stats = DecodeStats()
    while True:
        try:
            line = read("> ").strip()
        except EOFError:
            return stats
        if not line:
            return stats
        turns += _question(line)
        if len(turns) == 1:
            # They stay there, also if a later line says <image>.
            turns = session.placed(turns, len(pictures))
        decoded = _one(session, turns, pictures, known, stream=True)
        sys.stdout.write("\n")
        # What a model says holds no place for an image, however it is spelt.
        turns.append(Turn("assistant", session.text(decoded.tokens[0]).replace(MARKER, "")))
        stats = stats + decoded.stats


def _question(text: str) -> list[Turn]:
    return read_turns([{"from": "human", "value": text}], "the prompt")


def _pictures(paths: tuple[Path, ...]) -> list[np.ndarray]:
    return [read_picture(expand_path(str(path))) for path in paths]


def _one(
    session: Session,
    turns: list[Turn],
    pictures: list[np.ndarray],
    known: dict[str, ImageFeatures],
    *,
    stream: bool,
) -> Decoded:
    prompt = session.prompt(turns, pictures)
    writer = StreamedText(session.text, sys.stdout) if stream else None
    decoded = session.decode([prompt], known=known, on_token=writer)
    if writer is not None:
        writer.finish()
    return decoded


def journal_of(output: Path) -> Path:
    """The file in which finished answers gather until the output is written."""
    return output.with_name(f"{output.name}.partial")


def answer_file(session: Session, requests: list[Request], output: Path) -> DecodeStats:
    """Answer a file of questions, in batches, with a progress bar.

    Finished answers gather in a journal beside the output, which an interrupted run goes on with.

    Returns:
        Statistics of all answers, those of earlier runs among them.
    """
    partial = journal_of(output)
    records = answer_requests(session, requests, partial)
    stats = write_answers(records, output)
    partial.unlink()
    return stats


UNSAID = ("stats", "seconds")
"""Fields of the journal that are summed up and not said line by line."""


def write_answers(records: list[dict[str, Any]], output: Path) -> DecodeStats:
    """Write the answers, JSON Lines.

    Returns:
        Statistics of all of them.
    """
    with atomic_file(output) as temporary:
        lines = [
            json.dumps({k: v for k, v in record.items() if k not in UNSAID}, ensure_ascii=False) for record in records
        ]
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return sum((DecodeStats.from_dict(record["stats"]) for record in records), DecodeStats())


def answer_requests(session: Session, requests: list[Request], partial: Path) -> list[dict[str, Any]]:
    """Answer those questions that a journal of this very job lacks; the journal stays.

    Batches are those of the whole file, so that an interrupted run decodes as an uninterrupted one.

    Args:
        session: the model.
        requests: the questions.
        partial: the journal's file.

    Returns:
        ``id``, ``prompt``, ``images``, ``output``, ``tokens``, ``finish`` and ``stats`` of each question, in their order; statistics of
        a batch are those of its first record.
    """
    size = session.options.batch_size
    starts = range(0, len(requests), size)
    questions = [
        [one.id, [[turn.role, turn.text] for turn in one.turns], [str(path) for path in one.images]] for one in requests
    ]
    with Journal(partial, {**session.describe(), "questions": questions}, ("id",)) as journal:
        for start in track(starts, session.method.name, len(starts)):
            batch = requests[start : start + size]
            if all((one.id,) in journal for one in batch):
                continue
            prompts = [session.prompt(one.turns, one.pictures(), one.place) for one in batch]
            decoded = session.decode(prompts, first_index=start)
            shared: dict[str, Any] = decoded.stats.to_dict()
            for one, tokens, finish in zip(batch, decoded.tokens, decoded.finish, strict=True):
                record = {
                    "id": one.id,
                    "prompt": one.text,
                    "images": [str(path) for path in one.images],
                    "output": session.text(tokens),
                    "tokens": tokens,
                    "finish": finish,
                }
                if (one.id,) not in journal:
                    journal.add({**record, "stats": shared})
                shared = DecodeStats().to_dict()
        return [journal.done[(one.id,)] for one in requests]
