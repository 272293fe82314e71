"""From a checkpoint of any package to a folder that an engine loads: finds who knows it, and holds the result against the loader."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.config import expand_path
from ar_core.errors import CheckpointError, UnsupportedModelError
from ar_core.json_text import read_fields
from ar_core.registry import exporters, resolve

from .engines import engine, served
from .verify import verify_export

__all__ = ["export_checkpoint"]


def export_checkpoint(
    name: str, source: str | Path, destination: str | Path, settings: Mapping[str, Any] | None = None
) -> str:
    """Write a checkpoint as an engine loads it.

    Args:
        name: of the engine.
        source: folder of a checkpoint, as `final/` of a run is, or a published one.
        destination: folder to write; a checkpoint there is replaced.
        settings: the exporter's own.

    Returns:
        Lines for the terminal: what was written, and how the engine is started on it.

    Raises:
        ConfigError: there is no such engine, or a setting cannot be used.
        UnsupportedModelError: the engine does not serve it; says what it serves.
        CheckpointError: the source cannot be read, or the result would not be what the loader reads.
    """
    # Here, so that listing what there is needs no torch.
    from ar_core.io import atomic_directory, require_kept, require_replaceable

    target = engine(name)
    source, destination = expand_path(str(source)), expand_path(str(destination))
    require_kept(source, destination)
    require_replaceable(destination)
    if not source.is_dir():
        raise CheckpointError(
            f"there is no folder {str(source)!r}: give that of a checkpoint, such as the final/ of a run"
        )
    fields = read_fields(source / "config.json") if (source / "config.json").is_file() else {}
    for exporter in exporters().values():
        if resolve(exporter.claims)(source, fields):
            with atomic_directory(destination, replace=True) as room:
                flags = resolve(exporter.export)(target, source, room, dict(settings or {}))
                loader, count = verify_export(room, name, called=destination)
            launch = f"{target.launch}{flags}".replace("{folder}", shlex.quote(str(destination)))
            return (
                f"{destination}: {count} tensors as {loader.name} of {target.name} {target.version} reads them ({loader.file}); not "
                f"loaded by the engine here\n{launch}"
            )
    kind = fields.get("kind") or fields.get("model_type")
    raise UnsupportedModelError(
        f"{str(source)!r} holds {'no config.json' if not fields else f'a model of the kind {kind!r}'}, and {served(target)}: give such a "
        "checkpoint, or draw from this one with ar-decode"
    )
