"""One process of `test_sharded.py`, in a module that the processes can import."""

from pathlib import Path

import torch
import torch.distributed as dist
from ar_kernels import sharded_selected_cross_entropy
from comparing import SIZES as ALL_SIZES
from comparing import poisoned, repeatable
from cross_entropy_cases import SETTINGS, case
from torch import Tensor

WORLD = 3
SIZES = [*(size for size in ALL_SIZES if size[1] >= WORLD), (9, 31, 6), (40, 1000, 17), (5, 3, 4), (0, 12, 4)]
"""Each process holds an id at least."""
CASES = [(dtype, size) for dtype in (torch.float64, torch.float32) for size in SIZES]


def settings_of(size: tuple[int, int, int]) -> dict:
    return SETTINGS[sum(size) % len(SETTINGS)]


def run_rank(rank: int, folder: str) -> None:
    """Loss and gradients of all sizes, in memory that is poisoned, and two of them twice."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    torch.set_num_threads(1)
    results = []
    for dtype, size in CASES:
        with poisoned():
            results.append(_results(rank, size, dtype))
    repeatable(lambda: _results(rank, SIZES[-2], torch.float32))
    repeatable(lambda: _results(rank, SIZES[-3], torch.float32))
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def part(vocabulary: int, rank: int) -> tuple[int, int]:
    """Parts of unequal sizes."""
    bounds = [0, max(1, vocabulary // 5), max(2, vocabulary // 2), vocabulary]
    return bounds[rank], bounds[rank + 1]


def _results(rank: int, size: tuple[int, int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    given = case(*size, dtype)
    first, last = part(size[1], rank)
    hidden, weight = given.hidden.detach().requires_grad_(), given.weight[first:last].detach().requires_grad_()
    loss = sharded_selected_cross_entropy(
        hidden,
        weight,
        given.rows,
        given.labels,
        given.weights,
        **settings_of(size),
        first=first,
        # Ranks that would take other chunks agree on the smallest one's.
        max_logits=size[1] * -(-size[0] // 2) * (3 - rank) or None,
    )
    (loss * 0.3).backward()
    return loss.detach(), hidden.grad, weight.grad
