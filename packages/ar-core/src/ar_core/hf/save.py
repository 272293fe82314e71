"""Saving in Hugging Face layout, atomically."""

import copy
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ar_core.hf.nf4 import dequantize_nf4
from ar_core.hf.published import base_fields
from ar_core.io import KeyMap, atomic_directory, require_replaceable

__all__ = ["save_pretrained"]


def save_pretrained(
    model: nn.Module,
    directory: str | Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    extra_config: dict[str, Any] | None = None,
    key_map: KeyMap | None = None,
    without: Collection[str] = (),
    files: Mapping[str, str] | None = None,
) -> None:
    """Write weights, config and tokenizer as one folder that appears only when complete.

    Any Hugging Face tool loads it; nothing in it mentions our attention, nor the published name of a type that transformers
    does not have, unless `extra_config` gives it.

    Args:
        model: a transformers model; adapters of a peft model are merged into a copy first.
        directory: folder to write; a checkpoint or an empty folder there is replaced.
        tokenizer: written beside the weights.
        extra_config: fields added to `config.json`.
        key_map: names of the tensors in a published layout; tied tensors are written one by one. None: as they are.
        without: fields left out of `config.json`, if they are there.
        files: texts written beside the weights, by file name.

    Raises:
        CheckpointError: a folder that holds something else is there, or the operating system refuses (disk full, no
            permission ...); what lay there before is unchanged.
    """
    directory = Path(directory)
    require_replaceable(directory)
    plain: Any = model
    if hasattr(model, "merge_and_unload"):
        plain = copy.deepcopy(plain)
        dequantize_nf4(plain)
        plain = plain.merge_and_unload()
    with atomic_directory(directory, replace=True) as folder:
        plain.save_pretrained(folder, **({} if key_map is None else {"state_dict": _renamed(plain, key_map)}))
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        changed = {**base_fields(plain), **(extra_config or {})}
        if changed or without:
            path = folder / "config.json"
            fields = {**json.loads(path.read_text(encoding="utf-8")), **changed}
            fields = {name: value for name, value in fields.items() if name not in without}
            path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for name, text in (files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")


def _renamed(model: nn.Module, key_map: KeyMap) -> dict[str, Tensor]:
    """The model's tensors under published names, each in memory of its own."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in key_map.to_published(model.state_dict()).items():
        tensors[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return tensors
