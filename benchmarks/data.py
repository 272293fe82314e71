"""Where the staged data are."""

import os
from pathlib import Path

from ar_core.errors import DataError

__all__ = ["staged_folder", "text_folder"]


def staged_folder(holds: str) -> Path:
    """The folder of all staged data.

    Args:
        holds: what is wanted of it, for the message.

    Raises:
        DataError: ``AR_DATA_DIR`` is not set.
    """
    folder = os.environ.get("AR_DATA_DIR")
    if folder is None:
        raise DataError(f"AR_DATA_DIR is not set: give the folder that holds {holds}")
    return Path(folder)


def text_folder() -> Path:
    """The folder of the staged texts; raises as :func:`staged_folder` does."""
    return staged_folder("text/ and models/") / "text"
