"""Modules that a file describes, built without believing it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..errors import ArError, CheckpointError

__all__ = ["built_on_meta", "require_modest"]

M = TypeVar("M", bound=nn.Module)

FREELY, PER_TENSOR = 10_000, 16
"""Parameters that any module may have, and how many more for each tensor of its file: layouts that fuse have fewer tensors."""


ROOM, PACKED = 1 << 24, 16
"""Numbers that any checkpoint may lack, and how many may be packed into one."""


def built_on_meta(build: Callable[[], M], tensors: int, source: str) -> M:
    """Build a module on the device ``meta`` from settings that a file gives.

    Settings of strangers may ask for any number of layers: building ends at the first parameter that the file's tensors cannot fill.

    Args:
        build: makes the module.
        tensors: how many tensors the file holds.
        source: what the error calls the origin.

    Raises:
        CheckpointError: the settings contradict each other, or ask for far more parameters than there are tensors.
    """
    try:
        with torch.device("meta"), _at_most(FREELY + PER_TENSOR * tensors, tensors, source):
            return build()
    except ArError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"{source} has settings that no model can be built from ({reason}): get weights and config together again"
        ) from error


def require_modest(build: Callable[[], nn.Module], shapes: Mapping[str, Sequence[int]], source: str) -> None:
    """Refuse settings that ask for far more numbers than a checkpoint holds, before memory is taken for them.

    Args:
        build: makes the module that they describe; what it makes is on the device ``meta``.
        shapes: of the checkpoint's tensors by name; without any, nothing is refused here.
        source: what the error calls the origin.

    Raises:
        CheckpointError: the settings ask for far more, or contradict each other.
    """
    if not shapes:
        return
    asked = sum(parameter.numel() for parameter in built_on_meta(build, len(shapes), source).parameters())
    held = sum(math.prod(shape) for shape in shapes.values())
    if asked > ROOM + PACKED * held:
        raise CheckpointError(
            f"{source} has settings for {asked} numbers and holds {held}: get weights and config together again"
        )


@contextmanager
def _at_most(most: int, tensors: int, source: str) -> Iterator[None]:
    made = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal made
        made += 1
        if made > most:
            raise CheckpointError(
                f"{source} has settings for more than {most} parameters and {tensors} tensors: get weights and config together again"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
