"""`ar-train export` of Fast-dLLM v2 checkpoints. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.errors import ConfigError, UnsupportedModelError
from ar_core.registry import Exporter
from ar_core.serving import Engine, served, taken

from dlm_text.autoregressive.export import export_tokens

__all__ = ["EXPORTER", "claims", "export"]

EXPORTER = Exporter(
    name="fast_dllm_v2",
    summary="Fast-dLLM v2: not in blocks; with decoding=autoregressive one token at a time",
    claims="dlm_text.fast_dllm_v2.export:claims",
    export="dlm_text.fast_dllm_v2.export:export",
)

FIELDS = ("bd_size", "small_block_size", "mask_token_id")
"""What a plain config has beside that of the base."""


def claims(folder: Path, fields: Mapping[str, Any]) -> bool:
    """Whether a folder holds a checkpoint of Fast-dLLM v2, published or plain."""
    del folder
    return fields.get("bd_size") is not None


def export(engine: Engine, source: Path, destination: Path, settings: Mapping[str, Any]) -> str:
    """Write the folder; see :class:`ar_core.registry.Exporter`.

    Raises:
        UnsupportedModelError: unless the setting `decoding` says that the method is not wanted.
    """
    decoding = taken(settings, "decoding").get("decoding")
    if decoding is None:
        raise UnsupportedModelError(
            f"{str(source)!r} is a checkpoint of Fast-dLLM v2, whose shifted logits and sub-blocks no engine here decodes, and "
            f"{served(engine)}: give decoding=autoregressive to have it read one token at a time, which is not the method"
        )
    if decoding != "autoregressive":
        raise ConfigError(f"decoding is {decoding!r}, but must be autoregressive, or left out")
    return export_tokens(engine, source, destination, without=FIELDS)
