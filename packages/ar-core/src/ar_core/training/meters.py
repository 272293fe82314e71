"""Throughput and memory."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Throughput", "peak_memory_mib"]


class Throughput:
    """Counts samples and tokens between two readings of a clock that can be stopped for what is no training."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.steps = self.samples = self.tokens = 0

    def add(self, samples: int, tokens: int) -> None:
        """Count one optimiser step."""
        self.steps += 1
        self.samples += samples
        self.tokens += tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the block runs: evaluation and checkpoints are no training."""
        before = time.perf_counter()
        yield
        self._since += time.perf_counter() - before

    def read(self) -> dict[str, float]:
        """Return the rates since the last reading, in 1/s, and start anew."""
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        rates = {
            "steps_per_s": self.steps / seconds,
            "samples_per_s": self.samples / seconds,
            "tokens_per_s": self.tokens / seconds,
        }
        self._since = now
        self.steps = self.samples = self.tokens = 0
        return rates


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak so far, in MiB: of tensors on a CUDA device, otherwise of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
