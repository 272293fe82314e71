"""The one place from which Triton kernels start."""

from typing import Any

import torch

__all__ = ["start"]


def start(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Launch a kernel on the device of its first argument, which need not be the current one; on a CPU no device is chosen.

    Args:
        kernel: made by `triton.jit`.
        grid: how many programs along each axis. Only the first takes more than 65,535.
        arguments: of the kernel, a tensor first.
        options: constants of the kernel and settings of the launch.
    """
    with torch.cuda.device_of(arguments[0]):
        _launch(kernel, grid, arguments, options)


def _launch(kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    kernel[grid](*arguments, **options)
