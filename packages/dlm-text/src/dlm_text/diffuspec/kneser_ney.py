"""Modified Kneser-Ney smoothing over token ids, interpolated, as the standard n-gram toolkit estimates it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from ar_core.errors import DataError
from torch import Tensor

from .backoff_model import BackoffModel, NgramTable

__all__ = ["FALLBACK_DISCOUNTS", "fit_kneser_ney"]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D_1, D_2 and D_3+ where a corpus is too small to estimate them."""


@dataclass(frozen=True)
class _Order:
    """The distinct n-grams of one order, sorted by key."""

    keys: Tensor
    """int64 `[G]`; see :class:`NgramTable`."""
    at: Tensor
    """int64 `[T]`: index of the n-gram that ends at each place of the corpus, -1 where none does."""
    counts: Tensor
    """float64 `[G]`, adjusted: of the highest order how often, of lower ones behind how many different tokens."""


def fit_kneser_ney(sequences: Iterable[Sequence[int]], vocab_size: int, *, order: int = 3) -> BackoffModel:
    """Fit p(w | h) = (a(hw) - D(a(hw))) / Σ a(h·) + γ(h) p(w | h') (Chen & Goodman 1999, modified Kneser-Ney).

    a are counts at the highest order and numbers of distinct left neighbours below it (of n-grams that begin a sequence:
    counts); D takes three values per order, D_i = i - (i + 1) Y n_{i+1} / n_i with Y = n_1 / (n_1 + 2 n_2), from the numbers
    n_i of n-grams with a = i. The last resort is uniform over all V ids, so that every distribution sums to one over the
    vocabulary. DiffuSpec's paper fits a 3-gram with KenLM and leaves the unit open; here it is token ids, so that the search
    turns nothing into text.

    Args:
        sequences: documents as ids, in [0, V); their end-of-sequence token, if the model should know it, is part of them.
        vocab_size: V.
        order: n ≥ 1 of the longest n-grams.

    Raises:
        DataError: there is no token, or an id is outside the vocabulary.
    """
    tokens, offsets = _flat(sequences, vocab_size)
    base = vocab_size + 2
    orders = _count(tokens, offsets, vocab_size, order)
    log_p = torch.empty(base, dtype=torch.float64)
    unigrams = orders[0]
    seen, total = unigrams.keys, unigrams.counts.sum()
    discounted, left = _discounted(unigrams.counts, torch.zeros_like(seen), 1)
    uniform = left / total / vocab_size
    log_p[:] = uniform.log()
    log_p[seen] = (discounted / total + uniform).log()
    probabilities = log_p.exp()
    tables: list[NgramTable] = []
    backoffs = [torch.zeros(base, dtype=torch.float64)]
    for n in range(2, order + 1):
        this = orders[n - 1]
        context = this.keys // base
        contexts = base if n == 2 else orders[n - 2].keys.shape[0]
        discounted, left = _discounted(this.counts, context, contexts)
        totals = torch.zeros(contexts, dtype=torch.float64).index_add_(0, context, this.counts)
        gamma = left / totals.clamp(min=1)
        probabilities = discounted / totals[context] + gamma[context] * probabilities[_suffixes(orders, n)]
        backoffs[-1] = torch.where(totals > 0, gamma.clamp(min=1e-300).log(), 0.0)
        backoffs.append(torch.zeros(this.keys.shape[0], dtype=torch.float64))
        tables.append(NgramTable(this.keys, probabilities.log().float(), torch.empty(0)))
    stored = [NgramTable(t.keys, t.log_probs, b.float()) for t, b in zip(tables, backoffs[1:], strict=True)]
    return BackoffModel(log_p.float(), backoffs[0].float(), stored)


def _flat(sequences: Iterable[Sequence[int]], vocab_size: int) -> tuple[Tensor, Tensor]:
    """All sequences end to end, each behind a mark of its beginning, and the offset of every place in its sequence."""
    pieces = [torch.tensor([vocab_size, *ids], dtype=torch.int64) for ids in sequences if len(ids)]
    if not pieces:
        raise DataError("The corpus of the n-gram model holds no token; give at least one document that is not empty.")
    tokens = torch.cat(pieces)
    offsets = torch.cat([torch.arange(len(piece)) for piece in pieces])
    inside = tokens[offsets > 0]
    low, high = int(inside.min()), int(inside.max())
    if low < 0 or high >= vocab_size:
        raise DataError(
            f"The corpus of the n-gram model holds the id {low if low < 0 else high}, and the vocabulary has ids 0 to "
            f"{vocab_size - 1}; use the tokenizer of the model, or give its vocabulary size."
        )
    return tokens, offsets


def _count(tokens: Tensor, offsets: Tensor, vocab_size: int, order: int) -> list[_Order]:
    base = vocab_size + 2
    orders: list[_Order] = []
    before = tokens
    for n in range(1, order + 1):
        # The beginning of a sequence is only ever a context.
        here = (offsets >= max(n - 1, 1)).nonzero()[:, 0]
        keys = tokens[here] if n == 1 else before[here - 1] * base + tokens[here]
        distinct, index, counts = keys.unique(return_inverse=True, return_counts=True)
        at = torch.full_like(tokens, -1)
        at[here] = index
        orders.append(_Order(distinct, at, counts.double()))
        before = tokens if n == 1 else at
    for n in range(1, order):
        lower, upper = orders[n - 1], orders[n]
        place = _any_place(upper)
        neighbours = torch.zeros_like(lower.counts).index_add_(
            0, lower.at[place], torch.ones(len(place), dtype=torch.float64)
        )
        # Nothing stands before what begins a sequence, so that its plain count is what there is.
        first = (offsets == n - 1) & (lower.at >= 0) if n > 1 else torch.zeros_like(offsets, dtype=torch.bool)
        begins = torch.zeros_like(lower.counts, dtype=torch.bool)
        begins[lower.at[first]] = True
        orders[n - 1] = _Order(lower.keys, lower.at, torch.where(begins, lower.counts, neighbours))
    return orders


def _any_place(order: _Order) -> Tensor:
    """One place of the corpus at which each n-gram ends."""
    ends = (order.at >= 0).nonzero()[:, 0]
    place = torch.empty(order.keys.shape[0], dtype=torch.int64)
    place[order.at[ends]] = ends
    return place


def _suffixes(orders: Sequence[_Order], n: int) -> Tensor:
    """Of each n-gram, where its last n-1 tokens are stored: index below, or the token itself for n = 2."""
    found = orders[n - 2].at[_any_place(orders[n - 1])]
    return orders[0].keys[found] if n == 2 else found


def _discounted(counts: Tensor, context: Tensor, contexts: int) -> tuple[Tensor, Tensor]:
    """Counts less their discounts, and what the discounts leave to shorter contexts, per context."""
    steps = counts.clamp(max=3).long() - 1
    taken = torch.tensor(_discounts(counts), dtype=torch.float64)[steps]
    left = torch.zeros(contexts, dtype=torch.float64).index_add_(0, context, taken)
    return counts - taken, left


def _discounts(counts: Tensor) -> tuple[float, float, float]:
    n = [int((counts == i).sum()) for i in range(1, 5)]
    if min(n) == 0:
        return FALLBACK_DISCOUNTS
    y = n[0] / (n[0] + 2 * n[1])
    found = tuple(i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))
    ordinary = all(0 <= d <= i for i, d in enumerate(found, start=1))
    return (found[0], found[1], found[2]) if ordinary else FALLBACK_DISCOUNTS
