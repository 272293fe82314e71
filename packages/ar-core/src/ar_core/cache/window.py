"""One position of the KV cache's window: where a pass writes and what it sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.errors import CacheError

__all__ = ["Window", "per_row"]


class Window:
    """Where one pass writes and what it sees; built once per pass, read by every layer.

    Args:
        length: n, tokens of the pass in every row.
        rows: rows of the cache that take part, in the pass's order.
        starts: first slot written, per row of the pass.
        visibles: end (exclusive) of the slots seen, per row of the pass.
        whole: whether the rows are all rows of the cache in their order.
    """

    def __init__(self, length: int, rows: list[int], starts: list[int], visibles: list[int], *, whole: bool) -> None:
        self.length = length
        self.rows = rows
        self.starts = starts
        self.visibles = visibles
        self.whole = whole
        self.span = max(visibles)
        same_start = starts.count(starts[0]) == len(starts)
        self.first = starts[0] if same_start else None
        """The start, if all rows have the same."""
        self.uniform = same_start and visibles.count(visibles[0]) == len(visibles)
        """Whether all rows have the same start and the same visible end."""
        self._slots: tuple[Tensor, Tensor] | None = None

    def check(self, capacity: int, written: list[int]) -> None:
        """Refuse a window that does not fit.

        Args:
            capacity: slots per row.
            written: slots of each row of the cache that earlier passes wrote, from 0 without a gap.

        Raises:
            CacheError: the window does not fit the capacity, begins behind a gap of slots that were never written, or
                sees less than itself or slots never written.
        """
        if self.length < 1:
            raise CacheError(f"A window of {self.length} tokens was asked for; a pass has at least 1.")
        for row, first, seen in zip(self.rows, self.starts, self.visibles):
            end, filled = first + self.length, written[row]
            if end > capacity:
                raise CacheError(
                    f"Row {row} needs {end} slots and the KV cache has {capacity}; build it with a capacity of at least "
                    f"{end}."
                )
            if not 0 <= first <= filled:
                raise CacheError(
                    f"Row {row} was given a window that starts at slot {first}; it must start between 0 and {filled}, the "
                    f"slots written so far."
                )
            if not end <= seen <= max(end, filled):
                raise CacheError(
                    f"Row {row} was given a visible end of {seen}; it must lie between {end}, the end of its window, and "
                    f"{max(end, filled)}, the slots written by then."
                )

    def slots(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Index of the written slots for `tensor[rows, slots]`: `[R, 1]` and `[R, n]`."""
        if self._slots is None:
            starts = torch.tensor(self.starts, device=device)[:, None]
            rows = torch.tensor(self.rows, device=device)[:, None]
            self._slots = rows, starts + torch.arange(self.length, device=device)
        return self._slots

    def accept(self, lengths: list[int], n: int | Sequence[int], limit: int) -> None:
        """Set the committed lengths of the window's rows to `start + n`.

        Raises:
            CacheError: an `n` is not between 0 and `limit`.
        """
        counts = per_row("n", n, len(self.rows))
        for row, count in zip(self.rows, counts):
            if not 0 <= count <= limit:
                raise CacheError(f"Row {row} was told to keep {count} tokens; it can keep 0 to {limit}.")
        for row, first, count in zip(self.rows, self.starts, counts):
            lengths[row] = first + count


def per_row(name: str, value: int | Sequence[int], rows: int) -> list[int]:
    """One number for each row, from one for all or from a list that must be of that length."""
    values = [value] * rows if isinstance(value, int) else list(value)
    if len(values) != rows:
        raise CacheError(f"The KV cache was given {name} for {len(values)} rows; the pass has {rows}.")
    return values
