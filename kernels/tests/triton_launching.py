"""Where Triton kernels run and what they address: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import pytest
import torch
from ar_kernels import (
    block_attention,
    block_diffusion_attention,
    confidence,
    confidence_from_hidden,
    flow_mean,
    nearest_code,
    selected_cross_entropy,
    selected_soft_cross_entropy,
    sequence_logprob,
)
from attention_cases import training_ids
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FAR = 2**30
"""A stride: the third index is as far away as 32 bits do not tell. Pages in between are never there."""


def far_apart(x: Tensor, axis: int) -> Tensor:
    """The same numbers [..., D] in float16, `FAR` numbers between neighbours on an axis."""
    strides = list(torch.empty(x.shape).stride())
    strides[axis] = FAR
    room = torch.empty(1 + sum((n - 1) * s for n, s in zip(x.shape, strides)), dtype=torch.float16, device=DEVICE)
    return room.as_strided(x.shape, strides).copy_(x)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).half().to(DEVICE)


@pytest.mark.parametrize(("name", "axis"), [("q", 1), ("k", 1), ("k", 2), ("v", 1), ("v", 2), ("q", 0), ("k", 0)])
def test_a_cache_with_large_strides(name, axis):
    given = {"q": numbers(3, 3, 3, 4), "k": numbers(3, 3, 3, 4), "v": numbers(3, 3, 3, 4)}
    places = torch.zeros(3, dtype=torch.int64, device=DEVICE), torch.full((3,), 3, device=DEVICE)
    expected = block_attention(*given.values(), *places, implementation="triton")
    given[name] = far_apart(given[name], axis)
    assert torch.equal(block_attention(*given.values(), *places, implementation="triton"), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("names", ["q", "kv"])
def test_training_with_large_strides(names, axis):
    given = {"q": numbers(3, 3, 4, 4), "k": numbers(3, 3, 4, 4), "v": numbers(3, 3, 4, 4)}
    ids = training_ids(2, 1, 1, 1, DEVICE)

    def run() -> tuple[Tensor, ...]:
        leaves = [one.detach().requires_grad_() for one in given.values()]
        output = block_diffusion_attention(*leaves, ids["stream"], ids["block"], implementation="triton")
        return output, *torch.autograd.grad(output.float().square().sum(), leaves)

    expected = run()
    for name in names:
        given[name] = far_apart(given[name], axis)
    assert all(torch.equal(one, other) for one, other in zip(run(), expected, strict=True))


def test_logits_hidden_states_and_heads_with_large_strides():
    hidden, weight = numbers(3, 4), numbers(3, 4)
    for op, given in ((confidence, (hidden,)), (confidence_from_hidden, (hidden, weight))):
        expected = op(*given, implementation="triton")
        found = op(*(far_apart(one, 0) for one in given), implementation="triton")
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_rows_and_codebooks_with_large_strides():
    given = numbers(3, 4), numbers(5, 4)
    expected = nearest_code(*given, with_score=True, implementation="triton")
    found = nearest_code(*(far_apart(one, 0) for one in given), with_score=True, implementation="triton")
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["z", "log_probs", "codebook", "ids"])
def test_points_on_flows_with_large_strides(name):
    # float32 as the kernel takes it: others are copied before.
    given = {"z": numbers(3, 4).float(), "log_probs": numbers(3, 5).float(), "codebook": numbers(6, 4).float()}
    ids = torch.arange(5, device=DEVICE).expand(3, 5).contiguous()

    def run(ids: Tensor) -> tuple[Tensor, ...]:
        return flow_mean(given["z"], 1.0, given["log_probs"], given["codebook"], ids=ids, implementation="triton")

    expected = run(ids)
    if name == "ids":
        ids = torch.empty(1 + 2 * FAR + 4, dtype=torch.int64, device=DEVICE).as_strided((3, 5), (FAR, 1)).copy_(ids)
    else:
        rows, width = given[name].shape
        room = torch.empty(1 + (rows - 1) * FAR + width - 1, device=DEVICE)
        given[name] = room.as_strided((rows, width), (FAR, 1)).copy_(given[name])
    assert all(torch.equal(one, other) for one, other in zip(run(ids), expected, strict=True))


def test_more_pairs_of_rows_and_heads_than_the_second_axis_of_a_grid_takes(monkeypatch):
    """Only the first takes more than 65,535, so that is where they are, however few there are."""
    grids = []
    monkeypatch.setattr(
        "ar_kernels.launching._launch", lambda kernel, grid, arguments, options: grids.append(grid), raising=True
    )
    q, k = torch.empty(70_000, 2, 1, 4, device=DEVICE), torch.empty(70_000, 1, 8, 4, device=DEVICE)
    places = torch.zeros(70_000, dtype=torch.int64, device=DEVICE)
    block_attention(q, k, k, places, places, implementation="triton")
    ids = training_ids(1, 1, 1, 1, DEVICE)
    leaves = [torch.empty(70_000, n, 2, 4, device=DEVICE).requires_grad_() for n in (2, 1, 1)]
    output = block_diffusion_attention(*leaves, ids["stream"], ids["block"], implementation="triton")
    torch.autograd.grad(output.sum(), leaves)
    assert len(grids) == 4
    assert all(grid[0] >= 70_000 and max(grid[1:], default=1) < 65_536 for grid in grids)


def _ops() -> dict[str, tuple]:
    hidden, weight = numbers(3, 4).float().requires_grad_(), numbers(5, 4).float().requires_grad_()
    rows = torch.arange(3, device=DEVICE)
    ids = training_ids(2, 1, 1, 1, DEVICE)
    x = numbers(3, 1, 4, 4).float()
    leaf = x.clone().requires_grad_()
    return {
        "confidence": (confidence, (weight.detach(),), 2),
        "confidence_from_hidden": (confidence_from_hidden, (hidden, weight), 2),
        "flow_mean": (
            lambda *given, **options: flow_mean(*given, **options).mean,
            (hidden, 1.0, numbers(3, 5).float(), weight),
            1,
        ),
        "nearest_code": (nearest_code, (hidden, weight), 1),
        "selected_cross_entropy": (selected_cross_entropy, (hidden, weight, rows, rows), 1),
        "selected_soft_cross_entropy": (selected_soft_cross_entropy, (hidden, weight, rows, rows), 1),
        "sequence_logprob": (sequence_logprob, (hidden[None], weight, rows[None]), 1),
        "block_attention": (block_attention, (x, x, x, rows * 0, rows), 1),
        "block_diffusion_attention": (block_diffusion_attention, (leaf, leaf, leaf, ids["stream"], ids["block"]), 3),
    }


@pytest.mark.parametrize("name", list(_ops()))
def test_kernels_run_on_the_device_of_their_tensors(name, monkeypatch):
    op, given, launches = _ops()[name]
    entered = []

    class Recorded(torch.cuda.device_of):
        def __init__(self, tensor: Tensor) -> None:
            entered.append(tensor.device.type)
            super().__init__(tensor)

    monkeypatch.setattr(torch.cuda, "device_of", Recorded)
    found = op(*given, implementation="triton")
    if name == "block_diffusion_attention":
        found.sum().backward()
    assert entered == [DEVICE] * launches
