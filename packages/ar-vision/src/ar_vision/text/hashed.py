"""Text features without a language model: words as sums of fixed random vectors of their parts.

Ours, and no part of the published method, which takes the features of flan-t5-xl: this is what small models are trained with
where no such model is at hand. It knows spelling and neighbourhood of words, and nothing of their meaning.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import torch
from torch import Tensor, nn

from .text import Text

__all__ = ["HashedText"]

BUCKETS = 4096
SIZES = (3, 4, 5)
_WORDS = re.compile(r"\w+|[^\w\s]")


class HashedText(nn.Module):
    """A token for every word and punctuation mark of a text, and one for its end.

    The feature of a token is the normalised sum of one vector for each of: the word, its letter sequences of 3 to 5 (with marks
    at its ends), and the word together with the one before it. Vectors are rows of a table drawn once from N(0, 1), a part's row
    is its hash: the same on every machine, with nothing to train or to store. Case is ignored.

    Args:
        width: Ct.
        length: most tokens; longer texts lose what is in front of their end.
    """

    table: Tensor
    """Vectors of the parts of words, float32 [rows, Ct]."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.length = length
        drawn = torch.randn(BUCKETS, width, generator=torch.Generator().manual_seed(0))
        self.register_buffer("table", drawn, persistent=False)

    def prepare(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Return the parts of each token: ``text_parts`` int64 [B, M, P], row numbers padded with -1, and ``text_valid`` bool [B, M]."""
        texts = [[*_tokens(caption)[: self.length - 1], _parts("", "")] for caption in captions]
        longest = max(len(text) for text in texts)
        most = max(len(parts) for text in texts for parts in text)
        rows = torch.full((len(texts), longest, most), -1)
        for b, text in enumerate(texts):
            for m, parts in enumerate(text):
                rows[b, m, : len(parts)] = torch.tensor(parts)
        return {"text_parts": rows, "text_valid": (rows >= 0).any(-1)}

    def count(self, captions: Sequence[str]) -> list[int]:
        """Return how many tokens each text has before it is cut off, its end included."""
        return [len(_WORDS.findall(caption.lower())) + 1 for caption in captions]

    def forward(self, prepared: dict[str, Tensor]) -> Text:
        """Return the features of prepared texts."""
        rows = prepared["text_parts"]
        present = rows >= 0
        summed = (self.table[rows.clamp(min=0)] * present[..., None]).sum(2)
        return Text(summed / present.sum(-1, keepdim=True).clamp(min=1).sqrt(), prepared["text_valid"])

    def encode(self, captions: Sequence[str]) -> Text:
        """Return the features of texts."""
        device = self.table.device
        out: Text = self({name: tensor.to(device) for name, tensor in self.prepare(captions).items()})
        return out


def _tokens(caption: str) -> list[tuple[int, ...]]:
    words = _WORDS.findall(caption.lower())
    return [_parts(before, word) for before, word in zip(["", *words], words)]


@lru_cache(maxsize=1 << 16)
def _parts(before: str, word: str) -> tuple[int, ...]:
    marked = f"<{word}>"
    pieces = [marked[i : i + size] for size in SIZES for i in range(len(marked) - size + 1)]
    return tuple(_bucket(part) for part in (f"word {word}", f"pair {before} {word}", *pieces))


def _bucket(part: str) -> int:
    return int.from_bytes(blake2b(part.encode(), digest_size=8).digest(), "little") % BUCKETS
