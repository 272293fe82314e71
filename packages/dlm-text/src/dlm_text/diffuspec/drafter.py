"""A diffusion language model as a drafter: one pass over context and masks gives a lattice of tokens.

Source: DiffuSpec (arXiv 2510.02358); what is cached, and how ragged rows draft together, is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone
from ar_core.errors import ConfigError
from ar_core.masks import Mask, Tokens, block_causal
from torch import Tensor

from .layout import DraftLayout
from .vocabulary import Vocabulary

__all__ = ["Drafter", "DrafterCache"]

DrafterCache: TypeAlias = Literal["none", "prefix", "block"]
"""Which keys and values a drafter keeps: none, those of the context of a bidirectional one, or the finished blocks of a
block-causal one.
"""

GROWTH = 256
"""Slots by which a cache grows at least."""


@dataclass
class _Row:
    stored: int = 0
    """Positions whose keys and values are in the cache."""
    rounds: int = 0


@dataclass(frozen=True)
class _Pass:
    """What one row of a pass feeds: positions `start` to `end` of context and masks."""

    row: int
    start: int
    end: int
    keep: int
    """Leading positions of the pass whose keys and values are good for later rounds."""
    complete: int
    """Leading positions of the row in complete blocks."""


class Drafter:
    """Gives ℓ^dlm_i(v), log-probabilities of every token at every draft position, for ragged rows.

    Full attention makes what a token computes depend on the masks behind it, so that its cached keys and values are
    approximate: `prefix` keeps those of committed tokens for `refresh` rounds. `block`, for block-causal drafters, keeps
    blocks that are complete, which nothing later can change: exact. Either way only the number of rounds may change, never
    what the verifier lets pass.

    A block-causal drafter gets the block in which the draft ends filled up with masks, as it was trained.

    Args:
        backbone: the model.
        layout: shift, attention, blocks and mask token.
        vocabulary: its ids against the verifier's.
        steps: S ≥ 1 passes of a draft: each but the last fixes the most confident positions (k / S of them), and a position's
            distribution is that of the last pass in which it was masked.
        cache: `none`, `prefix` (bidirectional drafters) or `block` (block-causal ones).
        refresh: R, rounds between passes over everything, with `prefix`.

    Raises:
        ConfigError: a value out of range, or a cache that does not fit the attention.
    """

    def __init__(
        self,
        backbone: Backbone,
        layout: DraftLayout,
        vocabulary: Vocabulary,
        *,
        steps: int = 1,
        cache: DrafterCache = "none",
        refresh: int = 8,
    ) -> None:
        if steps < 1 or refresh < 1:
            raise ConfigError(f"a drafter was given steps={steps} and refresh={refresh}; both must be at least 1.")
        wanted = {"prefix": "bidirectional", "block": "block_causal"}.get(cache, layout.attention)
        if wanted != layout.attention:
            raise ConfigError(
                f"drafter_cache {cache!r} was given for a {layout.attention} drafter; give none or "
                f"{'prefix' if layout.attention == 'bidirectional' else 'block'}."
            )
        self.backbone, self.layout, self.vocabulary = backbone, layout, vocabulary
        self.steps, self.cache, self.refresh = steps, cache, refresh
        self.forwards = 0
        """Passes since `begin`."""
        self.tokens = 0
        """Tokens that these computed, filling included."""
        self._rows: list[_Row] = []
        self._store: WindowedKVCache | None = None

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Start a batch of requests, none of which knows of earlier ones."""
        self._rows = [_Row() for _ in prompts]
        self._store = None
        self.forwards = self.tokens = 0

    def room(self, committed: int) -> int:
        """Longest draft that fits the drafter's context behind so many committed tokens."""
        return max(0, self.backbone.context_length - committed)

    def pass_tokens(self, committed: int, length: int) -> int:
        """Tokens that a pass computes, about, behind so many committed ones: what a draft costs, for length policies."""
        masks = length if self.layout.block_size is None else max(length, self.layout.block_size)
        if self.cache == "none":
            return committed + masks
        again = committed // self.refresh if self.cache == "prefix" else 0
        return masks + 1 + again

    @torch.no_grad()
    def lattice(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Tensor:
        """Draft.

        Args:
            rows: R indices into the prompts of `begin`.
            contexts: committed ids of each, the verifier's, none empty.
            lengths: k of each, between 1 and `room`.

        Returns:
            Log-probabilities `[R, max k, V_t]` over the verifier's ids, float32 (float64 stays), those that may not be drafted
            at -inf. Rows behind a row's own k mean nothing.
        """
        passes = self._plan(rows, contexts, lengths)
        width = max(one.end - one.start for one in passes)
        device = self.backbone.device
        fed = []
        for one, context in zip(passes, contexts, strict=True):
            known = self.vocabulary.encode(context[one.start :])
            fed.append([*known, *[self.layout.mask_id] * (width - len(known))])
        spans = [[len(context) - one.start, length] for one, context, length in zip(passes, contexts, lengths)]
        # One upload before the model starts: ids, and where each draft stands in its row.
        packed = torch.tensor([row + span for row, span in zip(fed, spans, strict=True)], device=device)
        ids, first, drafted = packed[:, :width], packed[:, width, None], packed[:, width + 1, None]
        offsets = torch.arange(max(lengths), device=device)
        real = offsets < drafted
        places = torch.where(real, first + offsets, first)
        masked = real
        log_probs: Tensor | None = None
        steps = min(self.steps, max(lengths))
        for step in range(1, steps + 1):
            hidden = self._run(passes, ids, last=step == steps)
            read = (places - int(self.layout.shift))[..., None].expand(-1, -1, hidden.shape[-1])
            found = self.vocabulary.forbid(self.backbone.head(hidden.gather(1, read))).log_softmax(-1)
            log_probs = found if log_probs is None else torch.where(masked[..., None], found, log_probs)
            if step < steps:
                share = (drafted * step + steps - 1) // steps - (drafted * (step - 1) + steps - 1) // steps
                revealed = _most_confident(log_probs, masked, share)
                # What is not revealed goes to a column behind the pass, which is cut off.
                longer = torch.cat([ids, ids[:, :1]], 1)
                ids = longer.scatter(1, torch.where(revealed, places, width), log_probs.argmax(-1))[:, :width]
                masked = masked & ~revealed
        assert log_probs is not None
        return self.vocabulary.translate(log_probs)

    def _plan(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[_Pass]:
        """Decide what each row feeds, and make the cache large enough for it."""
        passes = [self._pass(*asked) for asked in zip(rows, contexts, lengths, strict=True)]
        if self.cache == "none":
            return passes
        needed = max(one.start for one in passes) + max(one.end - one.start for one in passes)
        if self._store is None or self._store.capacity < needed:
            for row in self._rows:
                row.stored = row.rounds = 0
            passes = [self._pass(*asked) for asked in zip(rows, contexts, lengths, strict=True)]
            held = 0 if self._store is None else self._store.capacity
            capacity = max(max(one.end for one in passes) + GROWTH, 2 * held)
            self._store = self.backbone.new_cache(len(self._rows), capacity)
        return passes

    def _pass(self, number: int, context: Sequence[int], length: int) -> _Pass:
        row, committed = self._rows[number], len(context)
        end = min(self.layout.block_end(committed + length), self.backbone.context_length)
        complete = self.layout.complete(committed)
        if self.cache == "prefix":
            # The last committed token is always fed: the first draft token of shifted drafters is predicted there.
            start = min(row.stored, committed - 1) if row.rounds % self.refresh else 0
            return _Pass(number, start, end, committed - start, complete)
        if self.cache == "block":
            kept = self.layout.settled(committed)
            return _Pass(number, row.stored, end, kept - row.stored, complete)
        return _Pass(number, 0, end, 0, complete)

    def _run(self, passes: Sequence[_Pass], ids: Tensor, *, last: bool) -> Tensor:
        """One pass over int64 `[R, n]`; the last one of a round leaves its keys and values in the cache."""
        width = ids.shape[1]
        self.forwards += 1
        self.tokens += ids.numel()
        store = self._store
        if store is None:
            positions = torch.arange(width, device=ids.device).expand(len(passes), -1)
            span = width
        else:
            chosen = [one.row for one in passes]
            everyone = chosen == list(range(store.batch))
            store.window(width, start=[one.start for one in passes], rows=None if everyone else chosen)
            positions, span = store.query_positions(), store.span
        mask = self._mask(passes, positions, width, span)
        hidden = self.backbone.hidden(ids, positions=positions, mask=mask, cache=store)
        if store is not None and last:
            store.keep([one.keep for one in passes])
            for one in passes:
                self._rows[one.row].stored = one.start + one.keep
                self._rows[one.row].rounds += 1
        return hidden

    def _mask(self, passes: Sequence[_Pass], positions: Tensor, width: int, span: int) -> Mask | None:
        """Who sees whom; None where everybody sees everything.

        Slots behind a row's end are in a block that comes after all others.
        """
        layout, keys = self.layout, torch.arange(span, device=positions.device)
        full = all(one.end == span and one.start + width == span for one in passes)
        if layout.attention == "bidirectional" and full:
            return None
        ends = torch.tensor([[one.end] for one in passes], device=keys.device)
        if layout.attention == "bidirectional":
            beyond = (keys >= ends).long()
            queries = Tokens(block=torch.zeros_like(positions), position=positions)
            return Mask(block_causal(), queries, Tokens(block=beyond, position=keys))
        assert layout.block_size is not None
        blocks = [slots // layout.block_size for slots in (positions, keys)]
        if layout.clean == "token":
            # Blocks are named by their first position, and every token of a complete one is a block of its own.
            complete = torch.tensor([[one.complete] for one in passes], device=keys.device)
            blocks = [
                torch.where(slots < complete, slots, block * layout.block_size)
                for slots, block in zip((positions, keys), blocks, strict=True)
            ]
        last = torch.iinfo(torch.int64).max
        queries = Tokens(block=blocks[0], position=positions)
        return Mask(block_causal(), queries, Tokens(block=blocks[1].where(keys < ends, last), position=keys))


def _most_confident(log_probs: Tensor, masked: Tensor, count: Tensor) -> Tensor:
    """Bool `[R, k]`: the `count` `[R, 1]` masked positions of each row whose best token is most probable."""
    confidence = log_probs.amax(-1).masked_fill(~masked, -torch.inf)
    rank = confidence.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return masked & (rank < count)
