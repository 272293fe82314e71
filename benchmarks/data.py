"""Where the staged data are."""

import os
from pathlib import Path

from ar_core.errors import DataError

__all__ = ["text_folder"]


def text_folder() -> Path:
    """The folder of the staged texts.

    Raises:
        DataError: ``AR_DATA_DIR`` is not set.
    """
    folder = os.environ.get("AR_DATA_DIR")
    if folder is None:
        raise DataError("AR_DATA_DIR is not set: give the folder that holds text/ and models/")
    return Path(folder) / "text"
