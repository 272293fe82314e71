"""The report of an evaluation: numbers with everything that is needed to get them again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.environment import environment, portable
from ar_core.errors import ConfigError
from ar_core.io import atomic_file

from .features import FeatureExtractor
from .image_set import ImageSet

__all__ = ["check_target", "described", "features_facts", "write_report"]


def check_target(path: Path, *, force: bool = False) -> None:
    """Refuse a result that would overwrite something, before any work is done.

    Raises:
        ConfigError: it is there already, and ``force`` is off.
    """
    if path.exists() and (not force or path.is_dir()):
        raise ConfigError(f"{str(path)!r} exists already: give another output, or move it away")


def described(images: ImageSet) -> dict[str, Any]:
    """Where images come from, without the folders of this machine."""
    return {"place": portable(images.place), **images.describe()}


def features_facts(extractor: FeatureExtractor) -> dict[str, Any]:
    """Which features numbers were measured on."""
    return {
        "name": extractor.name,
        "weights": extractor.digest,
        "canonical": extractor.canonical,
        "dim": extractor.dim,
        "spatial_dim": extractor.spatial_dim,
    }


def write_report(path: Path, content: Mapping[str, Any], device: str) -> None:
    """Write JSON with the environment of the run; the file appears whole or not at all.

    Args:
        path: the file.
        content: JSON-able.
        device: torch device of the run.

    Raises:
        CheckpointError: it cannot be written.
    """
    whole = {**content, "environment": environment(device)}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
