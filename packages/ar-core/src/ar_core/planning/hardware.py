"""What devices can do."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ..config import did_you_mean
from ..environment import describe_device
from ..errors import ConfigError

__all__ = ["Hardware", "named_hardware", "present_hardware"]

FILE = Path(__file__).with_name("hardware.json")


@dataclass(frozen=True)
class Hardware:
    """One device, and how it is joined to others."""

    name: str
    """Of the device."""
    memory_bytes: float
    """All that it has."""
    flops_per_second: Mapping[str, float]
    """Most operations a second, by dtype."""
    bytes_per_second: float
    """Most that its memory moves."""
    link_bytes_per_second: float | None
    """What it exchanges with another device, both directions together; None where that is not known."""
    source: str
    """Where the numbers are from."""


def named_hardware(name: str) -> Hardware:
    """The device of that name in ``hardware.json``.

    Raises:
        ConfigError: there is none; the nearest name is given.
    """
    known = json.loads(FILE.read_text(encoding="utf-8"))
    if name not in known:
        raise ConfigError(f"there is no hardware {name!r}; {did_you_mean(name, known)}")
    return Hardware(**known[name])


def present_hardware() -> Hardware:
    """This machine's device, as large products and copies measure it: a second."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        memory, side = float(torch.cuda.get_device_properties(0).total_memory), 8192
    else:
        memory, side = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), 768
    flops = {}
    for dtype in (torch.float32, torch.bfloat16):
        left = torch.ones(side, side, dtype=dtype, device=device)
        flops[str(dtype).removeprefix("torch.")] = 2 * side**3 / _seconds(partial(torch.matmul, left, left), device)
    source = torch.ones(2**30 if device == "cuda" else 2**24, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.nbytes / _seconds(partial(target.copy_, source), device)
    name = describe_device(device)["name"]
    return Hardware(name, memory, {**flops, "float16": flops["bfloat16"]}, moved, None, "measured here")


def _seconds(run: Callable[[], object], device: str) -> float:
    """The best of four tries."""
    best = float("inf")
    for _ in range(4):
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return best
