"""Fields of a checkpoint's config that count something or name a token."""

from pathlib import Path
from typing import Any

from ar_core.errors import CheckpointError

__all__ = ["config_integer"]


def config_integer(config: Any, name: str, source: str | Path, *, least: int) -> int | None:
    """An integer of a config that anyone may have written; None if it is absent or null.

    Args:
        config: a transformers config, which checks none but its own fields.
        name: of the field.
        source: what it was loaded from, for messages.
        least: the smallest that is valid.

    Raises:
        CheckpointError: it is no integer, or a smaller one.
    """
    value = getattr(config, name, None)
    if value is not None and (type(value) is not int or value < least):
        raise CheckpointError(
            f"the checkpoint {str(source)!r} has {name} {value!r}, which must be an integer of at least {least}: correct its "
            "config.json"
        )
    return value
