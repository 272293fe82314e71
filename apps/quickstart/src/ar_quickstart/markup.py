"""Pieces of HTML that the sections of the report share."""

import html
from collections.abc import Iterable, Sequence

__all__ = ["cards", "table"]


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """A row of large figures, each with the words that explain it; text is escaped."""
    inner = "".join(
        f'<div class="card"><b>{html.escape(figure)}</b><span>{html.escape(words)}</span></div>'
        for figure, words in figures
    )
    return f'<div class="cards">{inner}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[str]) -> str:
    """A table that scrolls sideways where the window is narrow, by the keyboard too.

    Args:
        head: one heading a column.
        rows: cells, escaped here; the first of each names the row.
        marks: a CSS class for each row, or nothing.
    """
    top = "".join(f'<th scope="col">{html.escape(cell)}</th>' if cell else "<td></td>" for cell in head)
    body = "".join(
        f'<tr class="{mark}"><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    label = html.escape(", ".join(cell for cell in head if cell))
    return (
        f'<div class="wide" role="region" aria-label="{label}" tabindex="0">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )
