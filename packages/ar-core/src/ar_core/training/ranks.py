"""The processes of a run: one, or as many as ``torchrun`` started."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ConfigError

__all__ = ["Ranks", "process_group"]

# Gradients travel in buckets: few messages, and no copy of the whole gradient at once.
BUCKET_ELEMENTS = 8 * 2**20


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run; all sums are the same on every rank, bit for bit."""

    rank: int = 0
    """This process's number, from 0."""
    size: int = 1
    """Processes of the run."""

    @staticmethod
    def current() -> "Ranks":
        """Return the ranks of the default process group, or the single process."""
        if dist.is_available() and dist.is_initialized():
            return Ranks(dist.get_rank(), dist.get_world_size())
        return Ranks()

    def sum(self, values: Tensor) -> Tensor:
        """Return ``values`` (any shape) added up over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is set on any rank."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor([float(flag)])).item())

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Add each tensor, of any shape, up over ranks, in place, in the order given, a bucket of one dtype at a time."""
        if self.size == 1:
            return
        bucket: list[Tensor] = []
        for tensor in tensors:
            if bucket and (
                tensor.dtype != bucket[0].dtype
                or sum(item.numel() for item in bucket) + tensor.numel() > BUCKET_ELEMENTS
            ):
                self._sum_bucket(bucket)
                bucket = []
            bucket.append(tensor)
        self._sum_bucket(bucket)

    def _sum_bucket(self, bucket: list[Tensor]) -> None:
        if not bucket:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        self.sum(flat)
        for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket])):
            tensor.copy_(part.view_as(tensor))

    def require_equal(self, tensors: Sequence[tuple[str, Tensor]]) -> None:
        """Raise unless every rank holds the same values as rank 0, bit for bit.

        Args:
            tensors: Names and tensors of any shape, in one order on all ranks.

        Raises:
            ConfigError: Names the first tensor that differs.
        """
        if self.size == 1:
            return
        for name, tensor in tensors:
            first = tensor.detach().clone()
            dist.broadcast(first, src=0)
            differs = torch.tensor([float(not torch.equal(first, tensor.detach()))], device=tensor.device)
            if self.sum(differs).item():
                raise ConfigError(
                    f"{name!r} does not start equal on all {self.size} ranks: build the models from one seed or "
                    "checkpoint"
                )


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the other processes if ``torchrun`` started this one, and leave them at the end.

    Does nothing where a process group exists already, or outside ``torchrun``.
    """
    started_by_torchrun = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started_by_torchrun or dist.is_initialized():
        yield Ranks.current()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks.current()
    finally:
        dist.destroy_process_group()
