"""Rendering a mask as segments: chunks of rows, each with the few ranges of keys that it can see.

Source: ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ar_core.masks.axis import visible
from ar_core.masks.rule import Rule
from ar_core.masks.tokens import Tokens

__all__ = ["Segment", "render_segments"]


@dataclass(frozen=True, eq=False)
class Segment:
    """A chunk of consecutive queries and all the keys that any of them may attend to.

    Attributes:
        rows: first and last (exclusive) query.
        keys: ranges of keys, each (first, last exclusive); disjoint, ascending, maximal; empty if the rows see nothing.
        tile: bool [rows, sum of range lengths], True where the query may attend to the key; None if it would be all
            True (or there are no keys).
    """

    rows: tuple[int, int]
    keys: tuple[tuple[int, int], ...]
    tile: Tensor | None

    @property
    def area(self) -> int:
        """Number of (query, key) pairs that are computed."""
        return (self.rows[1] - self.rows[0]) * sum(stop - start for start, stop in self.keys)


def render_segments(rule: Rule, queries: Tokens, keys: Tokens, rows: int) -> tuple[Segment, ...]:
    """Evaluate a rule chunk by chunk.

    No tensor larger than ``rows`` x K is made, so memory does not grow with Q x K beyond the tiles themselves.

    Args:
        rule: the rule.
        queries: Q tokens, ids shared by the batch.
        keys: K tokens, ids shared by the batch.
        rows: largest number of queries in a chunk.

    Returns:
        Segments that cover the rows 0 to Q in order.
    """
    return tuple(_segment(rule, queries, keys, start, stop) for start, stop in _chunks(queries, rows))


def _segment(rule: Rule, queries: Tokens, keys: Tokens, start: int, stop: int) -> Segment:
    allowed = visible(rule, queries.slice(start, stop), keys)
    ranges = _runs(allowed.any(dim=0))
    pieces = [allowed[:, first:last] for first, last in ranges]
    tile = torch.cat(pieces, dim=1) if pieces else None
    if tile is not None and bool(tile.all()):
        tile = None
    return Segment((start, stop), ranges, tile)


def _runs(columns: Tensor) -> tuple[tuple[int, int], ...]:
    edge = columns.new_zeros(1, dtype=torch.int8)
    steps = torch.diff(columns.to(torch.int8), prepend=edge, append=edge)
    edges = torch.nonzero(steps).flatten().tolist()
    return tuple(zip(edges[::2], edges[1::2]))


def _chunks(queries: Tokens, rows: int) -> Iterator[tuple[int, int]]:
    # A chunk computes the union of what its rows see, so it should hold rows that see alike. Across a change of stream,
    # document or scale rows see different keys: cut there, unless the chunk would be so small (rows/4) that overhead
    # per chunk outweighs the saving. Inside such a run cut evenly, and between blocks where that is near.
    blocks = _edges(queries, ("block",))
    start = 0
    for stop in [*_edges(queries, ("stream", "document", "scale")), queries.length]:
        if stop - start < rows // 4 and stop != queries.length:
            continue
        while start < stop:
            even = -(-(stop - start) // -(-(stop - start) // rows))
            near = [edge for edge in blocks if start + even / 2 < edge <= min(start + rows, stop)]
            cut = min(near, key=lambda edge: abs(start + even - edge)) if even < stop - start and near else start + even
            yield start, cut
            start = cut


def _edges(queries: Tokens, names: tuple[str, ...]) -> list[int]:
    edges: set[int] = set()
    for name in names:
        if name in queries:
            edges.update((torch.nonzero(torch.diff(queries[name])).flatten() + 1).tolist())
    return sorted(edges)
