"""`ar-train convert diffusionvl SOURCE DESTINATION`: from any layout to another. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ar_core.config import expand_path
from ar_core.errors import ConfigError
from ar_core.registry import Converter

__all__ = ["DIFFUSIONVL", "convert"]

DIFFUSIONVL = Converter(
    name="diffusionvl",
    summary="DiffusionVL and Qwen-VL checkpoints in any published layout; layout=own, published or converter",
    convert="dvlm.layouts.converter:convert",
)


def convert(
    kind: str,
    source: Path,
    destination: Path,
    *,
    entry: str | None = None,
    tokenizer: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Read a checkpoint in whatever layout it has and write it in another.

    Args:
        kind: diffusionvl.
        source: folder.
        destination: folder to write.
        entry: has no meaning here.
        tokenizer: folder of a tokenizer, for checkpoints without one.
        settings: `layout`, one of own (if not given), published and converter.

    Returns:
        A line for the terminal.

    Raises:
        ConfigError: another setting or layout, or an entry; the destination is the source or holds it.
        CheckpointError: as reading and writing do.
    """
    from ar_core.hf import load_tokenizer
    from ar_core.io import require_kept

    from .load import load_vision_language
    from .save import Layout, save_vision_language

    given = dict(settings or {})
    layout = given.pop("layout", "own")
    if given or entry is not None:
        named = next(iter(given), "entry")
        raise ConfigError(f"{kind} takes the setting layout alone, and {named!r} was given: drop it")
    if layout not in get_args(Layout):
        raise ConfigError(f"layout is {layout!r}, but must be one of {', '.join(get_args(Layout))}")
    require_kept(expand_path(str(source)), destination)
    loaded = load_vision_language(source)
    words = loaded.tokenizer if tokenizer is None else load_tokenizer(tokenizer)
    save_vision_language(loaded.model, destination, loaded.settings, tokenizer=words, layout=layout)
    return f"{source} written to {destination} in the layout {layout}"
