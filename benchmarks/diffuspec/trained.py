"""What a measurement needs: a verifier, its drafters and the n-gram model of its training text."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import CheckpointError
from ar_decode.output import write_text
from dlm_text.diffuspec.fit_proxy import FitProxyConfig, fit_proxy

__all__ = ["Trained", "fit_in_domain", "require", "write_jsonl"]


@dataclass(frozen=True)
class Trained:
    """Where the parts of one verifier's DiffuSpec are, trained or not.

    Attributes:
        name: of the results.
        verifier: as ``ar-decode`` takes it.
        drafters: ``full``, the verifier converted, and ``cut``, its first layers converted.
        layout: of the drafters.
        proxy: n-gram model of the training text.
        command: what trains them.
    """

    name: str
    verifier: str
    drafters: Mapping[str, Path]
    layout: str
    proxy: Path
    command: str


def require(trained: Trained) -> Trained:
    """The same, if everything is there.

    Raises:
        CheckpointError: something is not; names the command that makes it.
    """
    for path in (*trained.drafters.values(), trained.proxy):
        if not path.exists():
            raise CheckpointError(f"{str(path)!r} is not there: run `{trained.command}` first")
    return trained


def fit_in_domain(texts: Iterable[Sequence[int]], proxy: Path, *, vocab_size: int) -> None:
    """Fit the trigram model of DiffuSpec on token ids, unless it is there; the corpus stays beside it."""
    if proxy.is_file():
        return
    corpus = proxy.with_name("corpus.jsonl")
    write_jsonl(corpus, ({"ids": list(ids)} for ids in texts))
    print(fit_proxy(FitProxyConfig(corpus=corpus, output=proxy, vocab_size=vocab_size)), flush=True)


def write_jsonl(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    """Write records, one a line, complete or not at all."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
