"""Published checkpoints that only exist as pickles."""

import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError

__all__ = ["read_pickle"]


def read_pickle(path: str | Path, allow: tuple[type, ...] = ()) -> Any:
    """Read a ``torch.save`` file without running code from it; convert it once and keep the safetensors file.

    Args:
        path: The file.
        allow: Classes beyond tensors and plain containers that the file may hold.

    Raises:
        CheckpointError: Missing, damaged, or holding something that is not allowed.
    """
    path = Path(path)
    try:
        with torch.serialization.safe_globals(list(allow)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and is not read, since that could run code: "
            f"use the safetensors release, or allow its classes by name ({_first_line(error)})"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged or no torch file ({_first_line(error)}): download it again"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
