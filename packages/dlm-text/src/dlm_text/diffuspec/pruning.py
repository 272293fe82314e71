"""From the drafter's lattice to a few candidates per position.

Source: DiffuSpec (arXiv 2510.02358), equations 7 and 9.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Candidates", "EosRule", "prune"]

EosRule: TypeAlias = Literal["argmax", "paper", "prob"]
"""Where a stop id may end a path; see :func:`prune`."""


@dataclass(frozen=True)
class Candidates:
    """The sets C_i of R rows over k positions, M slots each, ids increasing within a set."""

    ids: Tensor
    """int64 `[R, k, M]`."""
    log_probs: Tensor
    """float64 `[R, k, M]`: ℓ^dlm_i of each."""
    valid: Tensor
    """bool `[R, k, M]`: whether the slot holds a candidate."""
    ends: Tensor
    """bool `[R, k, M]`: whether it is a stop id."""
    depth: Tensor
    """int64 `[R]`: D = min(s, k), or the positions before the first without a candidate: as many as a path may cover."""
    generated: Tensor
    """int64 `[R]`: L^gen = min(s - 1, k), drafted tokens before the raw draft's first stop id."""


def prune(
    log_probs: Tensor,
    lengths: Sequence[int],
    stop_ids: Iterable[int],
    *,
    mass: float,
    max_candidates: int,
    eos_rule: EosRule = "argmax",
    eos_probability: float = 0.5,
) -> Candidates:
    """Keep M_i candidates at position i: the smallest number, at most M_max, whose mass reaches τ (paper, Eq. 7).

    Where a stop id may stand is the paper's open question. Scores are sums, so that a path that ends competes with longer
    ones and wins by being short. `argmax`, the default, lets a path end only at s, the first position where the raw draft
    has a stop id; elsewhere stop ids are no candidates, and all paths are equally long. `paper` keeps every stop id among
    the top M_max; `prob` keeps those with a probability of at least `eos_probability`. No rule goes beyond s, and `prob` ends
    before it where the raw draft's stop id is too improbable and already has the mass τ (at s = 1 the stop id is kept).

    Args:
        log_probs: `[R, k, V]`, normalised; forbidden ids at -inf, which are never candidates.
        lengths: positions of each row, 1 to k; what lies behind is ignored.
        stop_ids: E.
        mass: τ in [0, 1]; 0 keeps one candidate, 1 keeps M_max.
        max_candidates: M_max.
        eos_rule: see above.
        eos_probability: of rule `prob`.

    Returns:
        The sets. Of equally probable ids at the edge of the top M_max, either may be in.
    """
    device = log_probs.device
    stops = torch.tensor(sorted(stop_ids), dtype=torch.int64, device=device)
    values, ids = log_probs.topk(min(max_candidates, log_probs.shape[-1]), dim=-1)
    # Among equals the lower id comes first; a stable sort of the few by id, then by value, says so.
    by_id = ids.argsort(-1)
    values, ids = values.gather(-1, by_id), ids.gather(-1, by_id)
    order = values.argsort(dim=-1, descending=True, stable=True)
    values, ids = values.gather(-1, order).double(), ids.gather(-1, order)
    masses = values.exp()
    before = masses.cumsum(-1) - masses
    first = torch.arange(ids.shape[-1], device=device) == 0
    within = first | (before < mass) if mass < 1 else torch.ones_like(before, dtype=torch.bool)
    ends = torch.isin(ids, stops)
    raw_ends = ends[..., 0]

    limit = torch.tensor(list(lengths), device=device)
    places = torch.arange(log_probs.shape[1], device=device)
    stopped = raw_ends & (places < limit[:, None])
    first_stop = torch.where(stopped.any(-1), stopped.int().argmax(-1), limit)
    depth = torch.minimum(first_stop + 1, limit)
    if eos_rule == "argmax":
        may_end = raw_ends[..., None].expand_as(ends)
    elif eos_rule == "paper":
        may_end = torch.ones_like(ends)
    else:
        may_end = masses >= eos_probability
    # What may end a path is kept whatever the mass before it; what may not is no candidate.
    valid = torch.where(ends, may_end, within) & values.isfinite()
    # A draft has a token; elsewhere a path ends before a position that no candidate may take.
    valid[:, 0] |= first & ~valid[:, 0].any(-1, keepdim=True) & values[:, 0].isfinite()
    taken = valid.any(-1).int().cumprod(-1).sum(-1)
    depth = torch.minimum(depth, taken)
    by_id = ids.argsort(-1)
    ids, values, valid, ends = (kept.gather(-1, by_id) for kept in (ids, values, valid, ends))
    return Candidates(ids, values, valid, ends, depth=depth, generated=first_stop)
