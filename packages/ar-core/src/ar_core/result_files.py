"""Which files a command writes, beside those that it reads."""

from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigError

__all__ = ["require_apart"]


def require_apart(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Refuse results that are one file, or that would take the place of a file that is read.

    Args:
        written: results by what users call them, those that an unfinished job keeps among them; None is none.
        read: files likewise.

    Raises:
        ConfigError: two paths lead to one file.
    """
    known = {path.resolve(): (name, "read") for name, path in read.items() if path is not None}
    for name, path in written.items():
        if path is None:
            continue
        other, use = known.setdefault(path.resolve(), (name, "written"))
        if use == "read":
            raise ConfigError(
                f"the file {str(path)!r} is {other}, and {name} would take its place; give another place."
            )
        if other != name:
            raise ConfigError(
                f"the file {str(path)!r} was given for two results, {other} and {name}; give each its own."
            )
