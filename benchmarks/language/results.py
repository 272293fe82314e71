"""Names of results files, and which of them make one table."""

import json
from pathlib import Path
from typing import Any

from benchmarks.recipes import DEFAULT_METHOD, conversion_name

__all__ = ["read_results", "results_stem"]


def results_stem(model: str, method: str, variant: str = "") -> str:
    """Name of a results file without suffix; the default method is not named."""
    plain = method == DEFAULT_METHOD and not variant
    return f"language_{model}" if plain else f"language_{model}_{conversion_name(method, variant)}"


def read_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All results of language models in a folder: for each model and method the plain conversion and its variants, in this
    order, under the name of the plain one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("language_*.json")):
        results = json.loads(file.read_text(encoding="utf-8"))
        found.setdefault(results_stem(results["model"], results["method"]), []).append(results)
    return {stem: sorted(same, key=lambda one: one.get("variant", "")) for stem, same in found.items()}
