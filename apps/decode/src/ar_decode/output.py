"""Files that appear only when complete."""

from pathlib import Path

from ar_core.errors import ConfigError

__all__ = ["refuse_existing", "write_text"]


def refuse_existing(path: Path | None, *, force: bool) -> None:
    """Raise before any work is done if a result would overwrite a file.

    Raises:
        ConfigError: the file exists and ``force`` is off.
    """
    if path is not None and path.exists() and not force:
        raise ConfigError(f"the file {str(path)!r} exists; give another --output, or --force to overwrite it.")


def write_text(path: Path, text: str) -> None:
    """Write a file complete or not at all; its folder is made.

    Raises:
        CheckpointError: the place cannot be written.
    """
    from ar_core.io import atomic_file

    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
