"""Where a run computes."""

import os

import torch

from ..errors import ConfigError

__all__ = ["choose_device"]


def choose_device(name: str) -> torch.device:
    """Return the device a config names; ``auto`` is CUDA if there is one, the local rank's device under ``torchrun``.

    Raises:
        ConfigError: Not the name of a device, or a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r} and must be auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if device.index >= torch.cuda.device_count():
            raise ConfigError(f"device is {name!r} and this machine has {torch.cuda.device_count()} CUDA devices")
    return device
