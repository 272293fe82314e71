"""A tree of draft tokens instead of one path: the best prefixes of the lattice under a node budget."""

from collections.abc import Sequence

import torch

from .path_search import grow
from .proxy import Proxy
from .pruning import Candidates

__all__ = ["build_trees"]


def build_trees(
    candidates: Candidates,
    proxy: Proxy,
    contexts: Sequence[Sequence[int]],
    *,
    nodes: int,
    drafter_weight: float,
) -> list[tuple[list[int], list[int], int]]:
    """The `nodes` prefixes with the largest path score S, which always form a tree (best-first, as DDTree, arXiv 2604.12989).

    Every term of S is at most 0, so that no prefix has a better score than the one it extends: the best N prefixes contain
    their own beginnings, and those of any one length are among the N best of that length. A search of width N, level by
    level on the device, therefore finds exactly what a best-first search with a queue would, with one read on the host.

    Args:
        candidates: C_i of R rows.
        proxy: ℓ^ng.
        contexts: committed ids of the rows.
        nodes: N ≥ 1, tokens of a tree at most.
        drafter_weight: λ.

    Returns:
        Of each row, tokens and parents in the order of falling score: `parents[i] < i`, -1 for children of the newest
        committed token; siblings differ. With them L^gen, so that it takes no read of its own.
    """
    levels = grow(candidates, proxy, contexts, beam=nodes, drafter_weight=drafter_weight, keep_ended=False)
    scores = torch.stack([level.scores for level in levels], 1)
    best = scores.flatten(1).sort(dim=-1, descending=True, stable=True)
    # Scores, ids and indices are exact in float64, so that all come in one transfer.
    tokens, parents = (torch.stack([getattr(level, name) for level in levels], 1) for name in ("tokens", "parents"))
    picked = [values.flatten(1).gather(1, best.indices)[:, :nodes] for values in (scores, tokens, parents)]
    width = picked[0].shape[1]
    generated = candidates.generated[:, None].expand(-1, width)
    packed = torch.stack([one.double() for one in (*picked, best.indices[:, :nodes], generated)], 1).tolist()
    return [(*_tree(*row[:4], width=nodes), int(row[4][0])) for row in packed]


def _tree(
    scores: list[float], tokens: list[float], parents: list[float], places: list[float], *, width: int
) -> tuple[list[int], list[int]]:
    """Number the nodes of one row; a place is level · width + index in the level."""
    numbers: dict[int, int] = {}
    found: tuple[list[int], list[int]] = [], []
    for score, token, parent, place in zip(scores, tokens, parents, places, strict=True):
        if score == -torch.inf:
            break
        level = int(place) // width
        found[0].append(int(token))
        found[1].append(numbers[(level - 1) * width + int(parent)] if level else -1)
        numbers[int(place)] = len(numbers)
    return found
