"""Where text for people goes."""

import os

from rich.console import Console

__all__ = ["terminal"]

COLUMNS_OF_A_FILE = 200
"""Width where no terminal says one, so that tables are whole in files and pipes."""


def terminal(*, stderr: bool = False) -> Console:
    """Return a console for standard output or error: plain where that is no terminal, colourless where ``NO_COLOR`` is set."""
    console = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = COLUMNS_OF_A_FILE
    return console
