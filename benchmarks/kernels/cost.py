"""Seconds and peak memory of runs, and the ceilings of the device."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["ceilings", "interleaved", "peak_bytes"]


def interleaved(runs: Mapping[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each run, round robin; one round more than asked for, the first dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            _wait(device)
            begun = time.perf_counter()
            run()
            _wait(device)
            seconds[name].append(time.perf_counter() - begun)
    return {name: values[1:] for name, values in seconds.items()}


def peak_bytes(run: Callable[[], Any], device: str) -> int:
    """The most memory that a run holds beyond what is there before it."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    held = most = 0
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def ceilings(device: str, dtype: torch.dtype, *, small: bool = False) -> dict[str, float]:
    """Bytes a second of a copy, and operations a second of a square product: the best of several tries each."""
    elements, side = (2**20, 128) if small else (2**28, 8192) if device.startswith("cuda") else (2**25, 1024)
    source = torch.zeros(elements, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = interleaved({"copy": lambda: target.copy_(source), "product": lambda: left @ right}, 10, device)
    return {
        "bytes_per_second": 2 * 4 * elements / min(seconds["copy"]),
        "flops_per_second": 2 * side**3 / min(seconds["product"]),
    }


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
