"""`ar-train export` of plain causal language models. Imports no torch."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ar_core.registry import Exporter
from ar_core.serving import ENGINES, Engine, taken

__all__ = ["EXPORTER", "claims", "export", "export_tokens"]

EXPORTER = Exporter(
    name="autoregressive",
    summary="plain causal language models, those of Jacobi Forcing too: one token at a time",
    claims="dlm_text.autoregressive.export:claims",
    export="dlm_text.autoregressive.export:export",
)

OTHERS = ("bd_size", "dlm_paradigm", "training_paradigm", "dvlm")
"""Fields of checkpoints that are more than a causal language model."""


def claims(folder: Path, fields: Mapping[str, Any]) -> bool:
    """Whether a folder holds a causal language model without fields of a method."""
    del folder
    loaders = [known.name for engine in ENGINES.values() for known in engine.architectures if known.decodes == "tokens"]
    names = fields.get("architectures")
    return (
        isinstance(names, list)
        and len(names) == 1
        and names[0] in loaders
        and "vision_config" not in fields
        and not any(fields.get(name) is not None for name in OTHERS)
    )


def export(engine: Engine, source: Path, destination: Path, settings: Mapping[str, Any]) -> str:
    """Write the folder; see :class:`ar_core.registry.Exporter`."""
    taken(settings)
    return export_tokens(engine, source, destination)


def export_tokens(engine: Engine, source: Path, destination: Path, *, without: Collection[str] = ()) -> str:
    """Write a model that an engine reads one token at a time, whatever it was trained to do beside that.

    Args:
        engine: whom for.
        source: folder of a checkpoint.
        destination: folder to write.
        without: fields of its config that say what else it can.
    """
    from ar_core.hf import export_pretrained, load_causal_lm

    loaded = load_causal_lm(source)
    export_pretrained(loaded.model, loaded.tokenizer, destination, engine, without=without)
    return ""
