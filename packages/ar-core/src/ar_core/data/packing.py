"""Documents to rows of equal length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..errors import ConfigError
from .document import Document

__all__ = ["REFERENCE_GROUP", "Row", "pack", "pack_reference", "pack_whole", "pad_to_blocks"]

REFERENCE_GROUP = 1000
"""Documents that the published code packs together, and after which it drops the tail."""


@dataclass(frozen=True)
class Row:
    """One row of L tokens."""

    ids: np.ndarray
    """Token ids, int32 [L]."""
    supervised: np.ndarray
    """Which tokens are supervised, bool [L]."""
    document: np.ndarray
    """Document of each token, int32 [L]: 0, 1, ... along the row."""


def pad_to_blocks(document: Document, block_size: int, pad_id: int, *, reference: bool = False) -> Document:
    """Append unsupervised ``pad_id`` up to a multiple of D, so that no block straddles two documents.

    Fast-dLLM v2 (arXiv 2509.26328), Table 2.

    Args:
        document: of length n.
        block_size: D.
        pad_id: the id appended, the mask token in Fast-dLLM v2.
        reference: append D - (n mod D) ids as the published code does, which gives a document that is already aligned a
            whole block of padding; otherwise (-n) mod D.
    """
    missing = block_size - len(document) % block_size if reference else -len(document) % block_size
    ids = np.concatenate([document.ids, np.full(missing, pad_id, dtype=np.int32)])
    return Document(ids, np.concatenate([document.supervised, np.zeros(missing, dtype=bool)]))


def pack(documents: Iterable[Document], seq_len: int, pad_id: int) -> Iterator[Row]:
    """Put documents end to end and cut into rows; the last row is filled with ``pad_id``, so that no token is lost."""
    pieces: list[Document] = []
    filled = 0
    for document in documents:
        while len(document):
            piece = document[: seq_len - filled]
            document = document[len(piece) :]
            pieces.append(piece)
            filled += len(piece)
            if filled == seq_len:
                yield _row(pieces, seq_len, pad_id)
                pieces, filled = [], 0
    if pieces:
        yield _row(pieces, seq_len, pad_id)


def pack_whole(documents: Iterable[Document], seq_len: int, pad_id: int) -> Iterator[Row]:
    """Put documents into rows in order without cutting any that fits a row.

    A document that does not fit what is left of a row begins the next one, and the rest of the row is ``pad_id``. A
    document longer than a row is cut into rows of its own.
    """
    pieces: list[Document] = []
    filled = 0
    for document in documents:
        if filled and filled + len(document) > seq_len:
            yield _row(pieces, seq_len, pad_id)
            pieces, filled = [], 0
        while len(document) > seq_len:
            yield _row([document[:seq_len]], seq_len, pad_id)
            document = document[seq_len:]
        pieces.append(document)
        filled += len(document)
    if pieces:
        yield _row(pieces, seq_len, pad_id)


def pack_reference(documents: Iterable[Document], seq_len: int, group: int = REFERENCE_GROUP) -> Iterator[Row]:
    """Pack as :func:`pack` does, but drop what does not fill a row at the end of every ``group`` documents."""
    remaining = iter(documents)
    while members := list(islice(remaining, group)):
        length = sum(map(len, members))
        full = length - length % seq_len
        yield from pack(_first(members, full), seq_len, pad_id=0)


def _first(documents: Iterable[Document], length: int) -> Iterator[Document]:
    for document in documents:
        yield document[:length]
        length -= min(length, len(document))


def _row(pieces: list[Document], seq_len: int, pad_id: int) -> Row:
    missing = seq_len - sum(map(len, pieces))
    if missing < 0:
        raise ConfigError(f"a row of {seq_len} tokens was given {seq_len - missing}")
    lengths = [*map(len, pieces), missing]
    return Row(
        ids=np.concatenate([*(piece.ids for piece in pieces), np.full(missing, pad_id, dtype=np.int32)]),
        supervised=np.concatenate([*(piece.supervised for piece in pieces), np.zeros(missing, dtype=bool)]),
        document=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
    )
