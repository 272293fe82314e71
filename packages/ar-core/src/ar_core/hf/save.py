"""Saving in Hugging Face layout, atomically."""

import json
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ar_core.io import atomic_directory

__all__ = ["save_pretrained"]


def save_pretrained(
    model: nn.Module,
    directory: Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    extra_config: dict[str, Any] | None = None,
) -> None:
    """Write weights, config and tokenizer as one folder that appears only when complete.

    Args:
        model: a transformers model; adapters of a peft model are merged into a copy first.
        directory: folder to write; an existing one is replaced.
        tokenizer: written beside the weights.
        extra_config: fields added to `config.json`.
    """
    if hasattr(model, "merge_and_unload"):
        import copy

        model = copy.deepcopy(model).merge_and_unload()
    with atomic_directory(directory) as folder:
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        if extra_config:
            path = Path(folder) / "config.json"
            path.write_text(
                json.dumps({**json.loads(path.read_text()), **extra_config}, indent=2, sort_keys=True) + "\n"
            )
