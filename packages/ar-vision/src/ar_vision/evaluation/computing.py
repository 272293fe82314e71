"""Where and in which dtype models compute when they are drawn from or measured."""

from collections.abc import Mapping

import torch
from torch import nn

from ..checkpoint import Loaded
from .sampling_config import ComputeDtype

__all__ = ["dtype_name", "placed"]

DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def placed(loaded: Loaded, device: torch.device, dtype: ComputeDtype = "auto") -> nn.Module:
    """Return a model ready to be run: frozen, in eval mode, on a device and in a dtype.

    Take fingerprints before: rounded weights are others.

    Args:
        loaded: a checkpoint, whose model is changed.
        device: where it runs.
        dtype: ``stored`` leaves the weights as they are; ``auto`` does so too, but on a CPU, which computes slowly and less exactly
            in 16 bits, it is float32.
    """
    chosen = "float32" if dtype == "auto" and device.type == "cpu" else dtype
    return loaded.model.requires_grad_(False).eval().to(device, DTYPES.get(chosen))


def dtype_name(model: nn.Module) -> str:
    """Return the dtype of a model's weights as settings write it."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")
