"""Trees of drafted tokens: a node sees the path that leads to it.

Source: tree attention of SpecInfer (arXiv 2305.09781); ancestors as intervals of a depth-first walk are ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.errors import MaskError
from ar_core.masks.rule import Ids, Rule

__all__ = ["tree", "tree_intervals"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return (k["enter"] <= q["enter"]) & (q["enter"] <= k["exit"])


def tree() -> Rule:
    """A query attends to its ancestors and itself; needs ``enter`` of queries, ``enter`` and ``exit`` of keys.

    A depth-first walk numbers the nodes as it enters them; ``exit`` is the last number given out below a node, so
    "k is an ancestor of q" is two comparisons for a tree of any size or shape. Tokens before the tree (prompt, KV
    cache) are ancestors of all: ``enter`` 0 and ``exit`` at least the number of nodes. Here a committed token, then
    two drafts that share their first token::

        tree()
        enter     0 1 2 3 4 5 6 7
        exit      7 7 4 4 4 7 7 7
                  # . . . . . . .
                  # # . . . . . .
                  # # # . . . . .
                  # # # # . . . .
                  # # # # # . . .
                  # # . . . # . .
                  # # . . . # # .
                  # # . . . # # #
    """
    return Rule("tree", _allows, frozenset({"enter"}), frozenset({"enter", "exit"}))


def tree_intervals(parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Turn a tree given by parents into the ids that :func:`tree` reads.

    Args:
        parents: parent of each of N nodes, by index in any order; -1 for a root (there may be several).

    Returns:
        ``(enter, exit)``, int64 [N] each, numbered from 1.

    Raises:
        MaskError: a parent is out of range, or the parents form a cycle.
    """
    children: list[list[int]] = [[] for _ in parents]
    roots: list[int] = []
    for node, parent in enumerate(parents):
        if not -1 <= parent < len(parents):
            raise MaskError(
                f"Node {node} of a tree has parent {parent}; parents must lie between -1 (root) and {len(parents) - 1}."
            )
        (roots if parent == -1 else children[parent]).append(node)
    enter, leave = [0] * len(parents), [0] * len(parents)
    clock = 0
    # An explicit stack: a draft chain longer than Python's recursion limit is an ordinary tree.
    stack = [(node, False) for node in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            leave[node] = clock
            continue
        clock += 1
        enter[node] = clock
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(children[node]))
    if clock != len(parents):
        lost = [node for node, number in enumerate(enter) if number == 0]
        raise MaskError(f"Nodes {lost} of a tree are reached from no root; every chain of parents must end at -1.")
    return torch.tensor(enter), torch.tensor(leave)
