"""A back-off n-gram model over token ids whose tables are tensors: what Kneser-Ney fitting and ARPA files give.

Source: back-off models (Katz, 1987); tables in place of a trie are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_header, read_tensors, write_tensors
from torch import Tensor

__all__ = ["BackoffModel", "NgramTable"]

FORMAT = "ar-ngram-1"
NOT_WORDS = 2
"""Rows of the unigrams that are no ids."""
NO_KEY = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class NgramTable:
    """All n-grams of one order n ≥ 2, sorted by key.

    The key of w_1 … w_n is `index · (V + 2) + w_n`, with the index of w_1 … w_{n-1} in the table below (of a single token:
    the token itself). Keys are exact: two n-grams never share one.
    """

    keys: Tensor
    """int64 `[G]`, increasing."""
    log_probs: Tensor
    """float32 `[G]`: ln p(w_n | w_1 … w_{n-1})."""
    backoffs: Tensor
    """float32 `[G]`: ln of the weight that w_1 … w_n, as a context, gives to shorter ones."""


class BackoffModel:
    """ln p(w | h) = ln p of the longest stored n-gram h'w, plus the back-off weights of the longer contexts seen.

    A causal proxy of DiffuSpec's path search: evaluates all candidates of all beams with a few binary searches in sorted
    tensors, without a loop over tokens and without text.

    Args:
        unigrams: float32 `[V + 2]` of ln p(w): ids 0 … V-1, then the sequence's beginning (never predicted) and any other id.
        unigram_backoffs: float32 `[V + 2]`.
        tables: of the orders 2, 3, …
    """

    def __init__(self, unigrams: Tensor, unigram_backoffs: Tensor, tables: Sequence[NgramTable]) -> None:
        self.vocab_size = unigrams.shape[0] - 2
        """V."""
        self.history = len(tables)
        """Tokens of context that matter: the order less one."""
        self._unigrams, self._unigram_backoffs = unigrams, unigram_backoffs
        # A last key that no n-gram has, so that a search never runs past the end.
        self._tables = [_guarded(table) for table in tables]

    @property
    def begin_id(self) -> int:
        """Stands for the beginning of a sequence in a history."""
        return self.vocab_size

    def to(self, device: torch.device | str) -> "BackoffModel":
        """This model on a device."""
        moved = [NgramTable(t.keys.to(device), t.log_probs.to(device), t.backoffs.to(device)) for t in self._plain()]
        return BackoffModel(self._unigrams.to(device), self._unigram_backoffs.to(device), moved)

    def begin(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Histories `[R, order - 1]` at the end of the contexts, the beginning of a sequence and nothing before it included."""
        rows = [[-1] * self.history + [self.begin_id, *context] for context in contexts]
        last = [row[len(row) - self.history :] for row in rows]
        return torch.tensor(last, dtype=torch.int64, device=self._unigrams.device).view(len(rows), self.history)

    def score(self, history: Tensor, candidates: Tensor) -> Tensor:
        """Conditional log-probabilities of candidates.

        Args:
            history: int64 `[R, B, order - 1]`, the tokens before; -1 where there are none.
            candidates: int64 `[R, M]`, the same for all B.

        Returns:
            float32 `[R, B, M]`, natural logarithms.
        """
        before = self._known(history)
        ids = self._known(candidates)[:, None].expand(-1, history.shape[1], -1)
        scores = self._unigrams[ids]
        for length in range(1, self.history + 1):
            context = before[..., self.history - length]
            for order, token in enumerate(before[..., self.history - length + 1 :].unbind(-1), start=2):
                context = self._find(order, context, token)[0]
            known = context >= 0
            backoffs = self._unigram_backoffs if length == 1 else self._tables[length - 2].backoffs
            weight = torch.where(known, backoffs[context.clamp(min=0)], 0.0)
            place, stored = self._find(length + 1, context[..., None], ids)
            scores = torch.where(place >= 0, stored, weight[..., None] + scores)
        return scores

    def save(self, path: str | Path) -> None:
        """Write the tables as one safetensors file.

        Raises:
            CheckpointError: it cannot be written.
        """
        tensors = {"unigrams": self._unigrams, "unigram_backoffs": self._unigram_backoffs}
        for order, table in enumerate(self._plain(), start=2):
            tensors |= {
                f"{order}.keys": table.keys,
                f"{order}.log_probs": table.log_probs,
                f"{order}.backoffs": table.backoffs,
            }
        write_tensors(path, tensors, {"format": FORMAT, "order": str(self.history + 1)})

    @staticmethod
    def load(path: str | Path) -> "BackoffModel":
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: the file is absent, damaged or of another kind.
        """
        note = read_header(path).get("__metadata__", {})
        if note.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} is no n-gram model of this package; fit one with `ar-decode fit-proxy`, or give an ARPA file."
            )
        tensors = read_tensors(path)
        try:
            tables = [
                NgramTable(tensors[f"{n}.keys"], tensors[f"{n}.log_probs"], tensors[f"{n}.backoffs"])
                for n in range(2, int(note["order"]) + 1)
            ]
            unigrams, backoffs = tensors["unigrams"], tensors["unigram_backoffs"]
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path} lacks a table of its n-grams ({error}); copy it again.") from error
        alike = [(unigrams, backoffs)] + [(table.log_probs, table.backoffs) for table in tables]
        fits = all(one.ndim == 1 and one.shape == other.shape for one, other in alike) and len(unigrams) > NOT_WORDS
        fits = fits and all(one.is_floating_point() and not one.isnan().any() for pair in alike for one in pair)
        if not fits or not all(_are_keys(table.keys, len(table.log_probs)) for table in tables):
            raise CheckpointError(f"{path} has tables of n-grams that do not fit each other; copy it again.")
        return BackoffModel(unigrams, backoffs, tables)

    def _plain(self) -> list[NgramTable]:
        return [NgramTable(t.keys[:-1], t.log_probs[:-1], t.backoffs[:-1]) for t in self._tables]

    def _known(self, ids: Tensor) -> Tensor:
        """Ids as rows of the unigram table: what lies outside of it shares the last one."""
        return torch.where((ids >= 0) & (ids <= self.begin_id), ids, self.begin_id + 1)

    def _find(self, order: int, context: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Index of (context, token) in the table of an order, -1 if it is not there, and its log-probability."""
        table = self._tables[order - 2]
        key = context * (self.vocab_size + 2) + token
        place = torch.searchsorted(table.keys, key)
        found = (context >= 0) & (table.keys[place] == key)
        return torch.where(found, place, -1), table.log_probs[place]


def _are_keys(keys: Tensor, count: int) -> bool:
    fits = keys.dtype == torch.int64 and keys.shape == (count,)
    return fits and (not count or bool(keys[0] >= 0)) and bool((keys[1:] > keys[:-1]).all())


def _guarded(table: NgramTable) -> NgramTable:
    keys = torch.cat([table.keys, table.keys.new_full((1,), NO_KEY)])
    log_probs, backoffs = (torch.cat([t.float(), t.new_zeros(1).float()]) for t in (table.log_probs, table.backoffs))
    return NgramTable(keys, log_probs, backoffs)
