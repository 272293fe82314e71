"""Pictures in a terminal: two pixels a character, one above the other."""

from typing import TYPE_CHECKING

from rich.color import Color
from rich.console import Group
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..command_result import PictureSheet

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["half_blocks", "labelled"]

MOST_ROWS = 24
"""Rows of pictures that are drawn; a terminal is no place for a thousand."""
WIDEST = 48
"""Characters of a picture at most."""


def half_blocks(picture: "Image", width: int) -> Text:
    """Draw a picture as text, ``width`` characters wide; pixels are square where a character is twice as high as wide."""
    height = max(2, round(picture.height * width / picture.width / 2) * 2)
    data = picture.convert("RGB").resize((width, height)).tobytes()
    text = Text()
    for top in range(0, height, 2):
        for left in range(width):
            starts = (3 * (row * width + left) for row in (top, top + 1))
            above, below = (Color.from_rgb(*data[start : start + 3]) for start in starts)
            text.append("▀", Style(color=above, bgcolor=below))
        if top + 2 < height:
            text.append("\n")
    return text


def labelled(sheet: PictureSheet, width: int) -> Table:
    """Draw a sheet, captions above the pictures.

    Args:
        sheet: its pictures.
        width: of the terminal, in characters.
    """
    columns = min(sheet.columns, len(sheet.pictures))
    each = max(4, min(WIDEST, (width - columns) // columns, sheet.pictures[0].width))
    table = Table.grid(padding=(0, 1, 1, 0))
    cells = [
        Group(Text(caption, overflow="ellipsis", no_wrap=True), half_blocks(picture, each))
        for picture, caption in zip(sheet.pictures[: columns * MOST_ROWS], sheet.captions)
    ]
    for _ in range(columns):
        table.add_column(width=each)
    for start in range(0, len(cells), columns):
        table.add_row(*cells[start : start + columns])
    return table
