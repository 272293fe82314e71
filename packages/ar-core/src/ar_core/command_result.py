"""What a command did: a line for people, data for programs, and tables and pictures for terminals and notebooks. Imports no torch."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CommandResult", "PictureSheet", "ResultTable"]


@dataclass(frozen=True)
class ResultTable:
    """Figures by name.

    Attributes:
        columns: a heading each; that of the names first.
        rows: cells as people read them.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self) -> list[str]:
        """Each row as ``name: figure``, or with several figures ``name: heading figure, heading figure``."""
        found = []
        for name, *cells in self.rows:
            named = [f"{heading} {cell}" for heading, cell in zip(self.columns[1:], cells, strict=True) if cell]
            found.append(f"{name}: {', '.join(named) if len(cells) > 1 else cells[0]}")
        return found

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class PictureSheet:
    """Pictures with a word above each.

    Attributes:
        pictures: RGB, of one size.
        captions: one for each.
        columns: pictures of a row.
        sheet: all of them as one picture, captions included.
    """

    pictures: "Sequence[Image]"
    captions: Sequence[str]
    columns: int
    sheet: "Image"

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.sheet.save(file, format="PNG")
        return file.getvalue()


class CommandResult(str):
    """What a command says at its end, as text for people, and the same for programs and notebooks.

    The text is the table, a line each row, and then the sentence.

    Args:
        sentence: what was done; empty where everything was said on the way.
        data: JSON-able: the fields that the command documents.
        table: figures that are no sentence.
        pictures: what was drawn.
        renderable: what rich shows in the place of the text; empty text where it says all.
        notes: lines, or what rich can show, for standard error.
        exit_code: of the program.

    Attributes:
        sentence, data, table, pictures, renderable, notes, exit_code: as given.
    """

    sentence: str
    data: Mapping[str, Any]
    table: ResultTable | None
    pictures: PictureSheet | None
    renderable: Any
    notes: Sequence[Any]
    exit_code: int

    def __new__(
        cls,
        sentence: str,
        data: Mapping[str, Any],
        *,
        table: ResultTable | None = None,
        pictures: PictureSheet | None = None,
        renderable: Any = None,
        notes: Sequence[Any] = (),
        exit_code: int = 0,
    ) -> "CommandResult":
        """Make the text."""
        lines = [] if table is None else table.lines()
        made = super().__new__(cls, "\n".join([*lines, *([sentence] if sentence else [])]))
        made.sentence, made.data, made.table, made.pictures = sentence, data, table, pictures
        made.renderable, made.notes, made.exit_code = renderable, notes, exit_code
        return made

    def _repr_html_(self) -> str:
        parts = [] if self.table is None else [self.table._repr_html_()]
        if self.pictures is not None:
            data = base64.b64encode(self.pictures._repr_png_()).decode()
            alt = html.escape(", ".join(self.pictures.captions))
            parts.append(f'<img alt="{alt}" src="data:image/png;base64,{data}">')
        return "".join([*parts, f"<p>{html.escape(self.sentence)}</p>" if self.sentence else ""])
