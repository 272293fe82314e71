"""ARPA files, the text format that n-gram toolkits write, read into tensors.

Source: the ARPA back-off format, as SRILM's and KenLM's documentation has it.
"""

import gzip
import math
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from ar_core.errors import DataError
from torch import Tensor

from .backoff_model import BackoffModel, NgramTable

__all__ = ["read_arpa"]

MOST_DIGITS = 18
NEPER = math.log(10.0)
"""ARPA files hold decadic logarithms."""
LONGEST = 1 << 16
"""Characters of a line; compressed files may hold lines that no memory holds."""
NOTHING = -100.0
"""Decadic logarithm of the probability of an unknown id where the file gives none."""


def read_arpa(path: str | Path, vocab_size: int, *, end_id: int | None = None) -> BackoffModel:
    """Read an ARPA file whose words are token ids in decimal digits, as `lmplz` writes it for a corpus of ids.

    `<s>` is the beginning of a sequence, `<unk>` every id without a unigram (p = 1e-100 if the file lacks it), and `</s>` the
    id `end_id`; without one, n-grams that end in `</s>` are left out.

    Args:
        path: the file, `.gz` or not.
        vocab_size: V.
        end_id: the id that ends a sequence.

    Raises:
        DataError: it is no ARPA file, a word is no id of the vocabulary, or the words before the last one of an n-gram are no
            entry of their own.
    """
    words = {"<s>": vocab_size, "<unk>": vocab_size + 1} | ({} if end_id is None else {"</s>": end_id})
    base = vocab_size + 2
    unigrams = torch.full((base,), math.nan, dtype=torch.float64)
    backoffs = torch.zeros(base, dtype=torch.float64)
    index: dict[tuple[int, ...], int] = {}
    tables: list[NgramTable] = []
    sections = _sections(Path(path), words, vocab_size)
    for order, entries in sections:
        if order == 1:
            for (word,), (log_p, backoff) in entries.items():
                unigrams[word], backoffs[word] = log_p, backoff
            index = {(word,): word for word in range(base)}
            continue
        keyed = []
        for ids, values in entries.items():
            if ids[:-1] not in index:
                raise DataError(
                    f"The ARPA file {str(path)!r} has an {order}-gram that begins with {' '.join(map(str, ids[:-1]))}, which is no "
                    "entry of its own; write the file without pruning the beginnings of n-grams."
                )
            keyed.append((index[ids[:-1]] * base + ids[-1], ids, values))
        keyed.sort(key=lambda item: item[0])
        index = {ids: place for place, (_, ids, _) in enumerate(keyed)}
        tables.append(
            NgramTable(
                torch.tensor([key for key, _, _ in keyed], dtype=torch.int64),
                _nepers([log_p for _, _, (log_p, _) in keyed]),
                _nepers([backoff for _, _, (_, backoff) in keyed]),
            )
        )
    unknown = unigrams[-1].nan_to_num(NOTHING)
    # The beginning is never predicted; toolkits write any number for it.
    unigrams[vocab_size] = unknown
    return BackoffModel(_nepers(unigrams.nan_to_num(float(unknown))), _nepers(backoffs), tables)


def _nepers(values: Tensor | list[float]) -> Tensor:
    return (torch.as_tensor(values, dtype=torch.float64) * NEPER).float()


def _sections(
    path: Path, words: dict[str, int], vocab_size: int
) -> Iterator[tuple[int, dict[tuple[int, ...], tuple[float, float]]]]:
    """Yield the n-grams of each order, from 1 on, with their logarithms as they stand."""
    order = 0
    entries: dict[tuple[int, ...], tuple[float, float]] = {}
    for number, line in _lines(path):
        if line.startswith("\\"):
            if order:
                yield order, entries
            head = re.fullmatch(r"\\(\d{1,9})-grams:", line)
            if head is None and line not in ("\\data\\", "\\end\\"):
                raise _malformed(path, number)
            if head is not None and int(head[1]) != order + 1:
                raise _malformed(path, number)
            order, entries = (int(head[1]) if head is not None else 0), {}
            if line == "\\end\\":
                return
        elif order:
            parts = line.split()
            if len(parts) not in (order + 1, order + 2):
                raise _malformed(path, number)
            try:
                values = float(parts[0]), float(parts[order + 1]) if len(parts) == order + 2 else 0.0
            except ValueError as error:
                raise _malformed(path, number) from error
            if not all(value < math.inf for value in values):
                raise _malformed(path, number)
            ids = tuple(_id(word, words, vocab_size, path, number) for word in parts[1 : order + 1])
            if ids in entries:
                raise DataError(
                    f"Line {number} of {str(path)!r} has the n-gram {' '.join(parts[1 : order + 1])!r:.60} a second time; keep one of the two."
                )
            if -1 not in ids:
                entries[ids] = values
    raise DataError(
        f"The ARPA file {str(path)!r} ends without \\end\\; it is cut short, or no ARPA file: fetch it again."
    )


def _id(word: str, words: dict[str, int], vocab_size: int, path: Path, number: int) -> int:
    """The id that a word stands for; -1 for an end of sequence that has none."""
    if word in words:
        return words[word]
    if word == "</s>":
        return -1
    if not word.isascii() or not word.isdigit() or len(word) > MOST_DIGITS or int(word) >= vocab_size:
        raise DataError(
            f"Line {number} of {str(path)!r} has the word {word!r:.60}, which is no token id from 0 to {vocab_size - 1}; build the file "
            "from a corpus of ids of this tokenizer, written as decimal numbers."
        )
    return int(word)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not os.path.isfile(path):
        raise DataError(f"The ARPA file {str(path)!r} does not exist; give the path of one.")
    unpack = gzip.open if path.suffix == ".gz" else open
    try:
        with unpack(path, "rt", encoding="utf-8") as file:
            number = 0
            while line := file.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise _malformed(path, number)
                if stripped := line.strip():
                    yield number, stripped
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DataError(
            f"The ARPA file {str(path)!r} cannot be read ({error}); give a text file, .gz or not."
        ) from error


def _malformed(path: Path, number: int) -> DataError:
    return DataError(
        f"Line {number} of {str(path)!r} does not belong into an ARPA file; give one that a toolkit wrote."
    )
