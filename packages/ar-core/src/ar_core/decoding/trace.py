"""A record of which pass fixed which token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Trace"]


class Trace:
    """Passes in order; each entry says which tokens one pass fixed in one row.

    An entry is `{"pass", "phase", "row", "positions", "tokens", "confidences"}`: `pass` counts forwards from 0, `positions`
    are offsets into the row's generated tokens (0 = first after the prompt).
    """

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    def add(
        self,
        number: int,
        phase: str,
        row: int,
        positions: Sequence[int],
        tokens: Sequence[int],
        confidences: Sequence[float],
    ) -> None:
        """Record that forward `number` fixed `tokens` at `positions` of `row`."""
        self._entries.append(
            {
                "pass": number,
                "phase": phase,
                "row": row,
                "positions": list(positions),
                "tokens": list(tokens),
                "confidences": [round(float(c), 6) for c in confidences],
            }
        )

    def __len__(self) -> int:
        return len(self._entries)

    def to_list(self) -> list[dict[str, Any]]:
        """The entries, JSON-able."""
        return [dict(entry) for entry in self._entries]
