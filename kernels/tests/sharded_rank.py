"""One process of `test_sharded.py`, in a module that the processes can import."""

import torch
import torch.distributed as dist
from ar_kernels import sharded_selected_cross_entropy
from cross_entropy_cases import case

SIZES = [(9, 31, 6), (40, 1000, 17), (5, 3, 4), (0, 12, 4)]
WORLD = 3


def run_rank(rank: int, store: str, results) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    torch.set_num_threads(1)
    for number, size in enumerate(SIZES):
        given = case(*size, torch.float64)
        first, last = part(size[1], rank)
        hidden, weight = given.hidden.detach().requires_grad_(), given.weight[first:last].detach().requires_grad_()
        loss = sharded_selected_cross_entropy(
            hidden,
            weight,
            given.rows,
            given.labels,
            given.weights,
            first=first,
            scale=0.7,
            cap=4.0,
            max_logits=5 * size[1],
        )
        (loss * 0.3).backward()
        results[rank, number] = tuple(tensor.detach().tolist() for tensor in (loss, hidden.grad, weight.grad))
    dist.destroy_process_group()


def part(vocabulary: int, rank: int) -> tuple[int, int]:
    """Parts of unequal sizes."""
    bounds = [0, max(1, vocabulary // 5), max(2, vocabulary // 2), vocabulary]
    return bounds[rank], bounds[rank + 1]
