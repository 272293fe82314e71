"""Files of weights: safetensors, sharded ones, pickles of torch."""

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ar_core.io import read_checkpoint, read_header, read_tensors, read_weights, save_tensors

from ..loader import Loader

__all__ = ["LOADERS", "small_tensors"]


def small_tensors() -> dict[str, torch.Tensor]:
    """A few tensors of several types."""
    return {
        "layers.0.weight": torch.arange(12.0).view(3, 4),
        "layers.1.weight": torch.ones(2, 2, dtype=torch.bfloat16),
        "ids": torch.arange(6),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
    }


def _safetensors() -> Iterator[Any]:
    yield lambda folder: save_tensors(folder / "model.safetensors", small_tensors(), {"format": "pt", "note": "x"})
    yield lambda folder: save_tensors(folder / "model.safetensors", {"a": torch.zeros(2)})


def _read_safetensors(folder: Path) -> None:
    read_header(folder / "model.safetensors")
    for tensor in read_tensors(folder / "model.safetensors").values():
        tensor.sum()


def _sharded() -> Iterator[Any]:
    def write(folder: Path) -> None:
        tensors = small_tensors()
        names = list(tensors)
        shards = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
        for file, held in shards.items():
            save_tensors(folder / file, {name: tensors[name] for name in held})
        index = {
            "metadata": {"total_size": 100},
            "weight_map": {name: file for file, held in shards.items() for name in held},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    yield write


def _torch_files(content: Any, **options: Any) -> Any:
    return lambda folder: torch.save(content, folder / "weights.pth", **options)


def _pickles() -> Iterator[Any]:
    state = {name: tensor for name, tensor in small_tensors().items() if name != "empty"}
    nested = {
        "model": {f"module.{name}": value for name, value in state.items()},
        "epoch": 3,
        "args": Namespace(lr=0.1),
    }
    shared = torch.arange(10.0)
    yield _torch_files(state)
    yield _torch_files(nested)
    yield _torch_files({"a": torch.nn.Parameter(torch.ones(2)), "b": shared[2:4], "c": shared.view(2, 5).T})
    yield _torch_files(state, _use_new_zipfile_serialization=False)


LOADERS = (
    Loader("ar_core/safetensors", _safetensors, _read_safetensors),
    Loader("ar_core/sharded", _sharded, lambda folder: read_checkpoint(folder)),
    Loader("ar_core/torch_file", _pickles, lambda folder: read_weights(folder / "weights.pth")),
)
