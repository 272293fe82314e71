"""Seconds and peak memory of runs, and the ceilings of the device."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["captured", "ceilings", "interleaved", "peak_bytes"]

FLUSHED_BYTES = 2**28
"""Written before each timed run on CUDA: several times the L2 cache, so that no run finds its inputs there."""


def interleaved(
    runs: Mapping[str, Callable[[], Any]], repeats: int, device: str, *, dropped: int = 1, launches: bool = False
) -> dict[str, list[float]]:
    """Seconds of each run, round robin.

    On CUDA a run is timed on the device, as a graph where it can be captured, behind a write that empties the L2 cache: what
    its kernels take, without the launches.

    Args:
        runs: by name.
        repeats: rounds that count.
        device: where they run.
        dropped: rounds before those.
        launches: on CUDA, by the wall clock from an idle device to an idle device; a graph would keep a second copy of what a
            run holds.
    """
    clock: Callable[[Callable[[], Any]], float] = _wall_clock
    if device.startswith("cuda"):
        clock = _idle_clock if launches else _device_clock(device)
        runs = runs if launches else _all_captured(runs)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(dropped + repeats):
        for name, run in runs.items():
            seconds[name].append(clock(run))
    return {name: values[dropped:] for name, values in seconds.items()}


def _all_captured(runs: Mapping[str, Callable[[], Any]]) -> Mapping[str, Callable[[], Any]]:
    """Graphs of all runs, or, if one cannot be captured, of none: with and without launches do not compare."""
    graphs = {}
    for name, run in runs.items():
        graph = captured(run)
        if graph is None:
            return runs
        graphs[name] = graph
    return graphs


def captured(run: Callable[[], Any]) -> Callable[[], None] | None:
    """The replay of a run's CUDA graph; ``None`` if it cannot be captured, because it asks the device something."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(beside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with suppress(RuntimeError):
        with torch.cuda.graph(graph):
            run()
        return graph.replay
    torch.cuda.synchronize()
    return None


def _wall_clock(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _idle_clock(run: Callable[[], Any]) -> float:
    def waited() -> None:
        run()
        torch.cuda.synchronize()

    torch.cuda.synchronize()
    return _wall_clock(waited)


def _device_clock(device: str) -> Callable[[Callable[[], Any]], float]:
    flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device)

    def clock(run: Callable[[], Any]) -> float:
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        flushed.zero_()
        begun.record()
        run()
        ended.record()
        torch.cuda.synchronize()
        return begun.elapsed_time(ended) / 1000

    return clock


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
    """Bytes a second of a copy or of reading alone, whichever moves more, and operations a second of a square product: the best
    of several tries each.
    """
    elements, side = (2**20, 128) if small else (2**30, 8192) if device.startswith("cuda") else (2**25, 1024)
    source = torch.ones(elements, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    runs = {"copy": lambda: target.copy_(source), "read": source.sum, "product": lambda: left @ right}
    best = {name: min(times) for name, times in interleaved(runs, 10, device).items()}
    return {
        "bytes_per_second": max(2 * source.nbytes / best["copy"], source.nbytes / best["read"]),
        "flops_per_second": 2 * side**3 / best["product"],
    }
