"""Settings of text data. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ..config import did_you_mean
from ..errors import ConfigError

__all__ = ["TextDataConfig"]

# The fields of a record that each kind reads, by their standard names.
RECORD_FIELDS = {"chat": ("messages",), "prompt": ("prompt", "completion"), "text": ("text",), "task": ()}


@dataclass(frozen=True)
class TextDataConfig:
    """Where training text comes from and how it becomes rows of ``seq_len`` tokens.

    Raises:
        ConfigError: a value is out of range, or a setting is given that the kind of data never uses.
    """

    kind: Literal["chat", "prompt", "text", "task"]
    """``chat``: records with a list of messages, supervised on assistant turns. ``prompt``: a prompt and its
    completion, supervised on the completion. ``text``: plain text, supervised throughout. ``task``: generated
    problems with exact answers, supervised on the answer."""
    path: str | None = None
    """JSON Lines file, ``.gz`` or not, or the id of a data set on the hub; ``~`` and ``$NAME`` are expanded."""
    task: str | None = None
    """Registered name of a task; kind ``task`` only."""
    task_seed: int = 0
    """Seed of the task's problems."""
    count: int | None = None
    """Take only the first ``count`` records; a task that is not streamed needs it."""
    fields: dict[str, str] = field(default_factory=dict)
    """Names that records use instead of the standard ones, for example ``{prompt: question, completion: answer}``."""
    hub_name: str | None = None
    """Configuration of a hub data set that has several."""
    hub_split: str = "train"
    """Split of a hub data set."""
    chat_template: bool = False
    """Kinds ``prompt`` and ``task``: write prompt and answer as a user and an assistant turn of the tokenizer's chat
    template, as a model that was tuned on chats expects."""
    prepend_bos: bool | None = None
    """Begin each document with the tokenizer's BOS token. Null does what the tokenizer does by itself, except that problems
    of a task begin with BOS wherever there is one."""
    append_eos: bool = True
    """End each document with the tokenizer's EOS token, supervised, so that the model learns to stop."""
    held_out: float = 0.0
    """Share of the records that is never trained on, in [0, 1): decided by a hash of the record, so that copies of a
    record are on the same side. Tasks have a split of their own."""
    seq_len: int = 512
    """L, tokens of a row."""
    packing: Literal["concat", "whole", "reference"] = "concat"
    """``concat``: documents end to end, cut into rows at any block edge; the last row is filled up, no token is lost.
    ``whole``: a document that does not fit the rest of a row begins a new one, so that no answer is cut from its prompt
    (only documents longer than a row are cut). ``reference``: as ``concat``, but the tail of every 1,000 documents is
    dropped, as in the published Fast-dLLM v2 code; for parity."""
    streaming: bool = False
    """Tokenise while training, for data that should not be tokenised beforehand: no cache on disk and no wait, but rows
    are shuffled only within ``shuffle_buffer``, and resuming reads again everything before the place it resumes at.
    Without it, rows are tokenised once into a memory-mapped file, which may be larger than memory."""
    shuffle_buffer: int = 1024
    """Rows among which a streamed run draws the next one."""
    cache_dir: str | None = None
    """Folder of tokenised rows; null is ``ar-core/rows`` in the user's cache folder."""

    def __post_init__(self) -> None:
        if self.kind == "task":
            self._require("task", self.task is not None, "the name of a task, for kind task")
            self._unused("path", "hub_name", "fields", "held_out")
            if self.count is None and not self.streaming:
                raise ConfigError("a task has no end: give count, the number of problems, or streaming: true")
        else:
            self._require("path", bool(self.path), f"a file or a hub id, for kind {self.kind}")
            self._unused("task", "task_seed")
        if self.kind in ("chat", "text"):
            self._unused("chat_template")
        if self.kind == "chat" or self.chat_template:
            self._unused("prepend_bos", "append_eos")
        if not self.streaming:
            self._unused("shuffle_buffer")
        else:
            self._unused("cache_dir")
        for name in self.fields:
            if name not in RECORD_FIELDS[self.kind]:
                hint = did_you_mean(name, RECORD_FIELDS[self.kind])
                raise ConfigError(f"fields renames {name!r}, which records of kind {self.kind} do not have; {hint}")
        self._require("count", self.count is None or self.count >= 1, "at least 1, or null")
        self._require("held_out", 0 <= self.held_out < 1, "in [0, 1)")
        self._require("seq_len", self.seq_len >= 2, "at least 2")
        self._require("shuffle_buffer", self.shuffle_buffer >= 1, "at least 1")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{name} is {getattr(self, name)!r} and must be {allowed}")

    def _unused(self, *names: str) -> None:
        defaults = type(self).__dataclass_fields__
        for name in names:
            standard = {} if name == "fields" else defaults[name].default
            if getattr(self, name) != standard:
                chat = "with a chat template" if self.chat_template and name in ("prepend_bos", "append_eos") else ""
                mode = (
                    f"with streaming: {str(self.streaming).lower()}" if name in ("shuffle_buffer", "cache_dir") else ""
                )
                use = chat or mode or f"for kind {self.kind}"
                raise ConfigError(f"{name} is {getattr(self, name)!r}, which is never used {use}; drop it")
