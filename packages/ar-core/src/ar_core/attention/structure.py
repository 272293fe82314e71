"""What attention libraries with fixed masks understand: the few structures that a mask may have."""

from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

from torch import Tensor

from ar_core.masks import Mask, bidirectional, causal, document, sliding_window

__all__ = ["Structure", "structure"]


@dataclass(frozen=True)
class Structure:
    """A mask in words.

    Attributes:
        causal: a query sees keys up to its own place, queries and keys aligned at their ends.
        window: how many of these it sees, itself among them; None: all.
        documents: lengths of the documents, row after row, that do not see each other; None: a row is one.
    """

    causal: bool = False
    window: int | None = None
    documents: tuple[int, ...] | None = None


_READ: WeakKeyDictionary[Mask, dict[int, Structure | str]] = WeakKeyDictionary()
"""What was read of masks, by batch size: every layer asks, twice."""


def structure(mask: Mask | None, batch: int) -> Structure | str:
    """Read a mask's structure from its rule, and see that its ids are what the rule's libraries take for granted.

    Positions must count one by one, those of queries and keys ending together, and documents must lie in one piece each;
    that is read on the host, once a mask and batch size.

    Args:
        mask: any.
        batch: rows of the call.

    Returns:
        The structure, or why there is none: one clause.
    """
    if mask is None or mask.is_full:
        return Structure()
    known = _READ.setdefault(mask, {})
    if batch not in known:
        known[batch] = _read(mask, batch)
    return known[batch]


def _read(mask: Mask, batch: int) -> Structure | str:
    own = mask.queries is mask.keys
    for window in (None, *_windows(mask)):
        one_way = causal() if window is None else causal() & sliding_window(window)
        if mask.rule == one_way:
            return _counted(mask, window)
        if mask.rule in (one_way & document(), document() & one_way):
            return _apart(mask, batch, causal=True, window=window) if own else _OTHERS
    if mask.rule in (document(), bidirectional() & document(), document() & bidirectional()):
        return _apart(mask, batch, causal=False, window=None) if own else _OTHERS
    return f"the rule {mask.rule!r} is none of full, causal(), causal() & sliding_window(), each with or without document()"


_OTHERS = "documents are kept apart within one sequence only, not between queries and a cache"


def _windows(mask: Mask) -> list[int]:
    """Sizes of the sliding windows that a rule names."""
    found, left = [], [mask.rule]
    while left:
        rule = left.pop()
        if rule.name == "sliding_window":
            found.append(rule.arguments[0])
        left += [one for one in rule.arguments if hasattr(one, "arguments")]
    return found


def _counted(mask: Mask, window: int | None) -> Structure | str:
    queries, keys = mask.queries["position"], mask.keys["position"]
    if not (_steps(queries) and _steps(keys) and bool((queries[..., -1] == keys[..., -1]).all())):
        return "positions do not count one by one up to the same end, which causal masks of libraries take for granted"
    return Structure(causal=True, window=window)


def _apart(mask: Mask, batch: int, *, causal: bool, window: int | None) -> Structure | str:
    owner = mask.queries["document"].expand(batch, -1)
    changes = owner.diff(dim=1) != 0
    lengths: list[int] = []
    for row, line in enumerate(owner):
        edges = [0, *(changes[row].nonzero().flatten() + 1).tolist(), mask.queries.length]
        starts = line[edges[:-1]]
        if len(starts.unique()) != len(starts):
            return "a document lies in several pieces"
        lengths += [stop - start for start, stop in pairwise(edges)]
    if causal:
        position = mask.queries["position"].expand(batch, -1)
        if not bool(((position.diff(dim=1) == 1) | changes).all()):
            return "positions do not count one by one within each document"
    return Structure(causal=causal, window=window, documents=tuple(lengths))


def _steps(positions: Tensor) -> bool:
    return bool((positions.diff(dim=-1) == 1).all())
