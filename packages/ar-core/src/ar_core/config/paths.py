"""Paths as users write them in a config."""

import os
import re
from pathlib import Path

from ..errors import ConfigError

__all__ = ["expand_path"]


def expand_path(text: str) -> Path:
    """Expand ``~``, ``$NAME`` and ``${NAME}`` in a path.

    Raises:
        ConfigError: an environment variable named in the path is not set.
    """
    expanded = os.path.expanduser(os.path.expandvars(text))
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset:
        raise ConfigError(
            f"the path {text!r} uses the environment variable {unset.group(1)}, which is not set; "
            f"set it, or write the path out"
        )
    return Path(expanded)
