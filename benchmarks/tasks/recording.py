"""What ar-quickstart tells of measurements that it does not repeat: chosen rows of the results files of all methods."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.errors import DataError
from ar_quickstart.methods_act import BASELINE, METHODS, Method
from ar_quickstart.recorded import RecordedRow

from benchmarks.recipes import FINAL

__all__ = ["RESULTS", "live_row", "read_results", "recorded_rows", "result_row"]

RESULTS = {
    "fast_dllm_v2": "tasks_fast_dllm_v2_seed{seed}.json",
    "efficient_dlm": "tasks_efficient_dlm_seed{seed}.json",
    "jacobi_forcing": "jacobi_forcing_tasks_seed{seed}.json",
    "diffuspec": "diffuspec_tasks_seed{seed}.json",
}
"""Results file of each method on the task model."""


def read_results(folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    """The results of one seed that are there, by method."""
    files = {method: folder / name.format(seed=seed) for method, name in RESULTS.items()}
    return {method: json.loads(file.read_text(encoding="utf-8")) for method, file in files.items() if file.is_file()}


def recorded_rows(results: Mapping[str, dict[str, Any]], seed: int) -> tuple[RecordedRow, ...]:
    """The rows that are shown: the baseline once, and of every method those of the models that ship, decoded much as live.

    Args:
        results: of ``read_results``.
        seed: of the models.

    Raises:
        DataError: a file has no row with the settings that run live.
    """
    found: list[RecordedRow] = []
    for method in METHODS:
        if method.decoder not in results:
            continue
        result, live = results[method.decoder], live_row(method, results[method.decoder])
        source = f"benchmarks/results/{RESULTS[method.decoder].format(seed=seed)}"
        if not found:
            found.append(_recorded(BASELINE, result_row(result, "AR base"), result, source, live=False))
        for row in result["rows"]:
            if _is_shown(method, result, row):
                found.append(_recorded(method.title, row, result, source, live=row is live))
    return tuple(found)


def live_row(method: Method, result: Mapping[str, Any]) -> dict[str, Any]:
    """The row whose settings are those that ar-quickstart runs live.

    Raises:
        DataError: there is none.
    """
    absent = object()
    for row in result["rows"]:
        settings = {**result.get("settings", {}), **row, **row.get("settings", {})}
        if _is_shown(method, result, row) and all(
            settings.get(key, absent) == value for key, value in method.options.items()
        ):
            return row
    raise DataError(
        f"the results of {method.decoder} have no row with the settings that ar-quickstart runs live, "
        f"{', '.join(f'{key}={value}' for key, value in method.options.items())}: measure them too"
    )


def result_row(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A row by its name.

    Raises:
        DataError: there is none.
    """
    for row in result["rows"]:
        if row["name"] == name:
            return row
    raise DataError(f"the results have no row {name!r}, only {', '.join(row['name'] for row in result['rows'])}")


def _is_shown(method: Method, result: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a row is of the method, of the models that ship, and of the block size of training."""
    if method.drafter:
        return str(row.get("settings", {}).get("drafter")).endswith(f"/{method.drafter}/{FINAL}")
    if "trained_block_size" in result:
        same_blocks = row.get("block_size") == result["trained_block_size"]
        return same_blocks and row.get("commit") == method.options["commit"]
    return row.get("model") == "trained"


def _recorded(
    method: str, row: Mapping[str, Any], result: Mapping[str, Any], source: str, *, live: bool
) -> RecordedRow:
    environment = result["environment"]
    threads = environment["device"]["threads"]
    return RecordedRow(
        method=method,
        name=row["name"],
        live=live,
        accuracy=row.get("accuracy"),
        tokens_per_forward=row["tokens_per_forward"],
        speed=row["speed"],
        identical=row["equal_outputs"] / row["problems"] if "equal_outputs" in row else row.get("identical"),
        problems=row["problems"],
        source=source,
        date=environment["date"][:10],
        device=f"{environment['device']['name']}, {threads} thread{'' if threads == 1 else 's'}",
    )
