"""Results of all seeds as they were measured."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["NAMES", "Results", "read", "rows_of"]

Results: TypeAlias = Mapping[str, Any]
NAMES = {"none": "neither", "histogram": "histogram loss", "residual": "residual modules", "both": "both (GloTok)"}
"""What arms are called in tables and figures."""


def read(folder: Path) -> list[Results]:
    """Results in the order of the seeds."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("glotok_cifar10_seed*.json")]
    return sorted(found, key=lambda one: one["seed"])


def rows_of(seeds: Sequence[Results], what: str, arm: str) -> list[Any]:
    """Rows of an arm: its ``tokenizer``, or ``samples`` of its FAR, in the order of the seeds."""
    return [row for one in seeds for row in one["rows"] if row["what"] == what and row["arm"] == arm]
