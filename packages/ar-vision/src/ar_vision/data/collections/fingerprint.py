"""What tells one set of files from another."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ar_core.errors import DataError

__all__ = ["FULLY_READ", "files_fingerprint"]

FULLY_READ = 2 * 2**30
"""Bytes up to which a set of files is hashed whole."""


def files_fingerprint(files: Iterable[tuple[str, Path]]) -> str:
    """Return a SHA-256 over the files' names and their content; above 2 GiB in all, over names and sizes alone.

    Args:
        files: name and path of each; names do not depend on where the data lie.

    Raises:
        DataError: a file is not there or cannot be read.
    """
    files = list(files)
    digest = hashlib.sha256()
    try:
        sizes = [path.stat().st_size for _, path in files]
        whole = sum(sizes) <= FULLY_READ
        for (name, path), size in zip(files, sizes, strict=True):
            digest.update(f"{name}\0{size}\0".encode())
            if whole:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise DataError(
            f"the data file {error.filename} cannot be read ({error.strerror}): put it there, or take it out of the data"
        ) from error
    return digest.hexdigest()
