"""Decoding the prompts of a file, a batch at a time."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ar_core.decoding import DecodeStats
from ar_core.errors import ClusterError

from .fitting import check_fit
from .methods import Generation, Method
from .prompts import Prompt, read_jsonl
from .session import Session

__all__ = ["FileDecoder", "FileJob", "answer_record", "open_decoder", "survey_file"]


@dataclass(frozen=True)
class FileJob:
    """What is to be done with a file of prompts.

    Attributes:
        prompts: how many.
        identity: what decides the lines, JSON-able.
        method: name and settings of the method, JSON-able.
    """

    prompts: int
    identity: dict[str, Any]
    method: dict[str, Any]


class FileDecoder:
    """A model with a file of prompts, all of which are read, encoded and checked first.

    Args:
        session: the model.
        method: how.
        generation: length and sampling; the prompt on line i draws random stream i in any batch.
        source: JSONL of prompts.
        batch_size: prompts decoded together.
        use_chat: chat template for all, for none, or (``None``) for conversations.

    Raises:
        DataError: a line is malformed, or a prompt is empty or does not fit the context.
    """

    def __init__(
        self,
        session: Session,
        method: Method,
        generation: Generation,
        source: Path,
        *,
        batch_size: int,
        use_chat: bool | None,
    ) -> None:
        self._session, self._method, self._generation, self._batch_size = session, method, generation, batch_size
        self._prompts = read_jsonl(source)
        self._ids = [session.encode(prompt, chat=use_chat) for prompt in self._prompts]
        check_fit(session, method, generation.max_new_tokens, self._prompts, self._ids)

    @property
    def job(self) -> FileJob:
        """What it does."""
        named = [(prompt.id, one) for prompt, one in zip(self._prompts, self._ids)]
        identity = {
            "model": self._session.source,
            "revision": self._session.revision,
            **self._session.runs_as,
            "method": self._method.describe(),
            "generation": asdict(self._generation),
            "prompts": hashlib.sha256(repr(named).encode()).hexdigest(),
        }
        # Plain JSON data, as those that it is compared with have become.
        return FileJob(len(self._prompts), json.loads(json.dumps(identity)), self._method.describe())

    def __call__(self, start: int) -> tuple[list[str], DecodeStats]:
        """The lines of the batch that begins with prompt ``start``, and what they cost.

        A line has ``id``, ``prompt``, ``output``, ``tokens`` (ids), ``finish`` and ``category`` (if the prompt has one).
        """
        batch = slice(start, start + self._batch_size)
        decoded = self._method.decode(self._session, self._ids[batch], self._generation, first_index=start)
        lines = [
            _line(prompt, self._session.text(tokens), tokens, finish)
            for prompt, tokens, finish in zip(self._prompts[batch], decoded.tokens, decoded.finish, strict=True)
        ]
        return lines, decoded.stats


def survey_file(load: Callable[[], tuple[Session, Method]], settings: dict[str, Any]) -> dict[str, Any]:
    """What a file decoder would do, JSON-able.

    Args:
        load: loads the model and builds the method.
        settings: the other arguments of :class:`FileDecoder`, by name.

    Raises:
        ArError: as ``load`` and `FileDecoder` do.
    """
    return asdict(FileDecoder(*load(), **settings).job)


def open_decoder(
    load: Callable[[], tuple[Session, Method]], settings: dict[str, Any], identity: dict[str, Any]
) -> Callable[[int], list[Any]]:
    """A file decoder whose results are JSON-able, lines and statistics.

    Args:
        load, settings: see :func:`survey_file`.
        identity: of the job as it was surveyed.

    Raises:
        ClusterError: this machine would decode something else.
    """
    decoder = FileDecoder(*load(), **settings)
    found = decoder.job.identity
    if other := [name for name, value in identity.items() if found[name] != value]:
        raise ClusterError(
            f"{other[0]} is {found[other[0]]} on the machine {os.uname().nodename!r} and was {identity[other[0]]} where the job was looked at; "
            "let all machines of the cluster see the same files and have the same packages."
        )

    def decode(start: int) -> list[Any]:
        lines, stats = decoder(start)
        return [lines, stats.to_dict()]

    return decode


def answer_record(prompt: Prompt, text: str, tokens: Sequence[int], finish: str) -> dict[str, Any]:
    """What is told of an answer: id, prompt, output, tokens (ids), finish, and the prompt's category where it has one."""
    record = {"id": prompt.id, "prompt": prompt.text, "output": text, "tokens": list(tokens), "finish": finish}
    return {**record, "category": prompt.category} if prompt.category else record


def _line(prompt: Prompt, text: str, tokens: Sequence[int], finish: str) -> str:
    return json.dumps(answer_record(prompt, text, tokens, finish), ensure_ascii=False)
