"""The connector alone: what stage 1 of route 2 leaves."""

from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path
from ar_core.errors import CheckpointError
from ar_core.io import atomic_file, load_strict, read_pickle, read_tensors
from torch import Tensor

from ..assembled import AssembledVL

__all__ = ["load_connector", "save_connector"]

NAMES = ("mm_projector.bin", "connector.safetensors", "mm_projector.safetensors")
PREFIX = "mm_projector."
NEWLINE = "image_newline"


def load_connector(model: AssembledVL, source: str | Path) -> None:
    """Start the connector from stage 1; a newline vector, which stage 1 may lack, keeps its fresh weights then.

    Args:
        model: changed in place.
        source: `mm_projector.bin` (a pickle of tensors whose keys contain ``mm_projector.``), a safetensors file of such keys or of
            ours, or a folder that holds one of them.

    Raises:
        CheckpointError: nothing of that kind is there, or keys are missing, unexpected or misshapen.
    """
    path = expand_path(str(source))
    if path.is_dir():
        held = [path / name for name in NAMES if (path / name).is_file()]
        if not held:
            raise CheckpointError(
                f"{path} holds none of {', '.join(NAMES)}: give the folder of a stage 1, or a file of it"
            )
        path = held[0]
    found: Any = read_tensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    names = isinstance(found, dict) and all(isinstance(key, str) for key in found)
    if not names or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path} holds no tensors by name: give the mm_projector.bin of a stage 1")
    tensors = {key.rpartition(PREFIX)[2]: value for key, value in found.items() if not key.endswith(NEWLINE)}
    load_strict(model.connector, tensors, source=str(path))
    newline = next((value for key, value in found.items() if key.endswith(NEWLINE)), None)
    if newline is not None and model.image_newline is not None:
        if newline.shape != model.image_newline.shape or not newline.is_floating_point():
            raise CheckpointError(
                f"{path} holds a newline vector {list(newline.shape)} and the model's is {list(model.image_newline.shape)}: give the stage 1 "
                "of this language model"
            )
        with torch.no_grad():
            model.image_newline.copy_(newline)


def save_connector(model: AssembledVL, path: str | Path) -> None:
    """Write the connector in the published form, a pickle of tensors alone."""
    tensors = {f"model.{PREFIX}{key}": value.detach().cpu() for key, value in model.connector.state_dict().items()}
    with atomic_file(path) as temporary:
        torch.save(tensors, temporary)
