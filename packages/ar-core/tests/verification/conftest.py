"""A language model small enough to enumerate, which still needs its cache and mask to be right; scripted proposers."""

from collections.abc import Callable, Sequence

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import StopRule, autoregressive
from ar_core.masks import Mask
from ar_core.sampling import Sampler
from torch import Tensor


class TableModel:
    """Logits are a row of a random table, chosen by a hash of every visible (token, position).

    The hash is a sum over the keys that the mask shows, read from the cache: one stale, missing or surplus key changes it.
    With a ``reach`` only the last so many tokens count, so that picks behind a wrong token can be right: guesses converge.
    """

    device = torch.device("cpu")
    dtype = torch.float64

    def __init__(
        self,
        vocab_size: int = 11,
        context_length: int = 64,
        table: int = 997,
        seed: int = 0,
        scale: float = 2.0,
        reach: int | None = None,
    ):
        self.vocab_size = vocab_size
        self.context_length = context_length
        self.reach = reach
        generator = torch.Generator().manual_seed(seed)
        self.table = scale * torch.randn(table, vocab_size, dtype=self.dtype, generator=generator)
        self.passes: list[tuple[int, int]] = []

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        return WindowedKVCache(1, batch, 1, 1, capacity, self.dtype, self.device)

    def embed(self, ids: Tensor) -> Tensor:
        return ids[..., None].to(self.dtype)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        self.passes.append((ids.shape[0], ids.shape[1]))
        marks = ((ids + 1) * (positions * 37 + 11)).to(self.dtype)
        # What lies behind the slots that a pass may see must never matter, nor what the mask hides among them.
        cache._keys[0][:, :, cache.span :] = torch.nan
        keys, places = cache.update(0, marks[:, None, :, None], positions.to(self.dtype)[:, None, :, None])
        keys, places = keys[:, 0, :, 0], places[:, 0, :, 0]
        seen = torch.ones(1, 1, 1, dtype=torch.bool) if mask is None else mask.dense()[:, 0]
        if self.reach is not None:
            seen = seen & (places[:, None] > positions[:, :, None] - self.reach)
        return torch.where(seen, keys[:, None], 0.0).sum(-1, keepdim=True).expand(-1, ids.shape[1], 1)

    def head(self, hidden: Tensor) -> Tensor:
        return self.table[hidden[..., 0].long() % len(self.table)]


class Scripted:
    """Drafts by a rule of the true continuations: right everywhere, wrong everywhere, or right for a few tokens."""

    wants_hidden = False

    def __init__(self, truths: Sequence[Sequence[int]], right: int | None, length: int, vocab_size: int) -> None:
        self.truths, self.right, self.length, self.vocab_size = truths, right, length, vocab_size
        self.seen: list[tuple[int, list[int], list[int]]] = []

    def begin(self, prompts):
        self.starts = [len(prompt) for prompt in prompts]

    def propose(self, rows, contexts, limits):
        drafts = []
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            at = len(context) - self.starts[row]
            truth = list(self.truths[row][at : at + min(limit, self.length)])
            right = len(truth) if self.right is None else self.right
            drafts.append(truth[:right] + [(token + 1) % self.vocab_size for token in truth[right:]])
        return drafts

    def observe(self, row, accepted, rest, hidden=None):
        self.seen.append((row, list(accepted), list(rest)))


PROMPTS = ([3], [1, 2, 3, 4, 5], [7, 7], [0, 9, 4, 2, 2, 8, 1, 1, 5], [10, 3, 10])


@pytest.fixture
def table_model() -> Callable[..., TableModel]:
    return TableModel


@pytest.fixture
def scripted() -> Callable[..., Scripted]:
    return Scripted


@pytest.fixture
def prompts() -> list[list[int]]:
    """Five ragged prompts over a vocabulary of 11."""
    return [list(prompt) for prompt in PROMPTS]


@pytest.fixture
def truths(prompts) -> Callable[[int], list[list[int]]]:
    """What the default table model generates greedily."""

    def run(max_new_tokens: int) -> list[list[int]]:
        stop = StopRule(frozenset(), max_new_tokens)
        return autoregressive(TableModel(), prompts, stop=stop, sampler=Sampler()).tokens

    return run
