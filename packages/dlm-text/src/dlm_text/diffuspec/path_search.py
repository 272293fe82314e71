"""Causal-consistency path search: one left-to-right path through the lattice that drafter and proxy agree on.

Source: DiffuSpec (arXiv 2510.02358), equation 8; as tensors over ragged rows: ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .proxy import Proxy
from .pruning import Candidates

__all__ = ["Level", "Paths", "grow", "search"]

NEVER = -torch.inf


@dataclass(frozen=True)
class Level:
    """The best B prefixes of one length of R rows, best first."""

    scores: Tensor
    """float64 `[R, B]`; -inf where there are fewer."""
    tokens: Tensor
    """int64 `[R, B]`: the last token."""
    parents: Tensor
    """int64 `[R, B]`: index of the prefix before it in the level before."""
    fresh: Tensor
    """bool `[R, B]`: whether the prefix gained a token here, rather than having ended before."""


@dataclass(frozen=True)
class Paths:
    """The best path of each of R rows."""

    tokens: Tensor
    """int64 `[R, k]`; what lies behind `lengths` means nothing."""
    lengths: Tensor
    """int64 `[R]`: m."""
    scores: Tensor
    """float64 `[R]`: S(π)."""


def grow(
    candidates: Candidates,
    proxy: Proxy,
    contexts: Sequence[Sequence[int]],
    *,
    beam: int,
    drafter_weight: float,
    keep_ended: bool = True,
) -> list[Level]:
    """Extend the best prefixes position by position; S(π) = Σ λ ℓ^dlm_i(π_i) + (1 - λ) ℓ^ng(π_i | x, π_{<i}) (paper, Eq. 8).

    Everything runs on the candidates' device, for all rows, beams and candidates at once, and nothing is read on the host.
    Of equal scores the one with the better prefix wins, then the lower token id.

    Args:
        candidates: C_i of R rows, k positions.
        proxy: ℓ^ng.
        contexts: committed ids of the rows.
        beam: B.
        drafter_weight: λ.
        keep_ended: let prefixes that ended, or have reached their row's depth, compete on with the score they have.

    Returns:
        One level per position.
    """
    device = candidates.ids.device
    rows, positions, slots = candidates.ids.shape
    history = proxy.begin(contexts).to(device)[:, None].expand(-1, beam, -1)
    scores = torch.full((rows, beam), NEVER, dtype=torch.float64, device=device)
    scores[:, 0] = 0
    ended = torch.zeros(rows, beam, dtype=torch.bool, device=device)
    levels = []
    for position in range(positions):
        ended = ended | (candidates.depth <= position)[:, None]
        ids, valid = candidates.ids[:, position], candidates.valid[:, position]
        # Where there is no candidate, -inf times a weight of 0 would be no number.
        drafted = torch.where(valid, candidates.log_probs[:, position], 0.0)
        gained = drafter_weight * drafted[:, None] + (1 - drafter_weight) * proxy.score(history, ids).double()
        # Rounding may put the logarithm of a probability of 1 above 0, and a prefix above the one it extends.
        gained = gained.clamp(max=0)
        grown = torch.where(valid[:, None] & ~ended[..., None], scores[..., None] + gained, NEVER)
        kept = torch.where(ended, scores, NEVER) if keep_ended else torch.full_like(scores, NEVER)
        choices = torch.cat([grown, kept[..., None]], -1).flatten(1)
        scores, chosen = choices.sort(dim=-1, descending=True, stable=True)
        scores, chosen = scores[:, :beam], chosen[:, :beam]
        parents, slot = chosen // (slots + 1), chosen % (slots + 1)
        fresh = slot < slots
        slot = slot.clamp(max=slots - 1)
        tokens = ids.gather(-1, slot)
        levels.append(Level(scores, tokens, parents, fresh))
        ended = torch.where(fresh, candidates.ends[:, position].gather(-1, slot), True)
        if history.shape[-1]:
            history = history.gather(1, parents[..., None].expand(-1, -1, history.shape[-1]))
            longer = torch.cat([history[..., 1:], tokens[..., None]], -1)
            history = torch.where(fresh[..., None], longer, history)
    return levels


def search(
    candidates: Candidates,
    proxy: Proxy,
    contexts: Sequence[Sequence[int]],
    *,
    beam: int,
    drafter_weight: float,
) -> Paths:
    """The path with the largest S(π) that a beam of width B finds, of every row; see :func:`grow`.

    Raw sums are compared, as published: under the `argmax` rule for stop ids all paths of a row have one length.
    """
    levels = grow(candidates, proxy, contexts, beam=beam, drafter_weight=drafter_weight)
    at = torch.zeros_like(levels[-1].parents[:, :1])
    tokens = []
    lengths = torch.zeros_like(at)
    for level in reversed(levels):
        tokens.append(level.tokens.gather(1, at))
        lengths = lengths + level.fresh.gather(1, at)
        at = level.parents.gather(1, at)
    return Paths(torch.cat(tokens[::-1], 1), lengths[:, 0], levels[-1].scores[:, 0])
