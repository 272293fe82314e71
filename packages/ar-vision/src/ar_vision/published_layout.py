"""What published weights tell by their names and shapes, for tokenizers and generators alike."""

import re
from collections.abc import Mapping

from ar_core.errors import CheckpointError
from torch import Tensor

__all__ = ["highest", "shape_of"]


def highest(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return the highest number that follows a prefix and a dot in the names; -1 if there is none.

    Raises:
        CheckpointError: it is higher than there are tensors: a model of so many layers is not even begun.
    """
    found = (re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in tensors)
    number = max((int(match.group(1)) for match in found if match), default=-1)
    if number >= len(tensors):
        raise CheckpointError(
            f"names under {prefix!r} go up to {number} and there are {len(tensors)} tensors: the checkpoint is damaged or of "
            "another architecture"
        )
    return number


def shape_of(tensors: Mapping[str, Tensor], name: str, ndim: int = 4) -> tuple[int, ...]:
    """Return the shape of a tensor that the configuration is read from.

    Raises:
        CheckpointError: It is missing, or has not ``ndim`` dimensions.
    """
    if name not in tensors:
        raise CheckpointError(
            f"the checkpoint lacks {name!r}, from which the shape of the model is read: it is incomplete or of another "
            "architecture"
        )
    shape = tuple(tensors[name].shape)
    if len(shape) != ndim:
        raise CheckpointError(
            f"{name!r} has shape {list(shape)}, and {ndim} dimensions are expected: these are weights of another "
            "architecture"
        )
    return shape
