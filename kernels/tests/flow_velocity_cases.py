"""Points on flows with what is hard about them, and float64 results of `flow_mean`."""

import math

import torch
from ar_kernels import flow_mean, flow_velocity
from ar_kernels.flow_velocity.reference import reference
from comparing import close, poisoned, repeatable
from torch import Tensor

RATIO = {torch.float64: 1e-12, torch.float32: 2e-5}


def points(
    size: tuple[int, int, int], dtype: torch.dtype, device: str, listed: int | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Rows at times from 0 on, a third of the codes filtered; with `listed`, so many codes a row in any order."""
    rows, vocabulary, width = size
    generator = torch.Generator().manual_seed(rows * 6271 + vocabulary)
    z = 2 * torch.randn(rows, width, generator=generator)
    tau = 3 * torch.rand(rows, generator=generator)
    tau[0] = 0
    codebook = torch.randn(vocabulary, width, generator=generator) / math.sqrt(width)
    count = listed or vocabulary
    log_probs = 2 * torch.randn(rows, count, generator=generator)
    log_probs[torch.rand(rows, count, generator=generator) < 0.3] = -math.inf
    log_probs[:, count // 2] = 0
    ids = None
    if listed:
        ids = torch.stack([torch.randperm(vocabulary, generator=generator)[:listed] for _ in range(rows)]).to(device)
    return (*(one.to(device, dtype) for one in (z, tau, log_probs, codebook)), ids)


def compare(size: tuple[int, int, int], dtype: torch.dtype, implementation: str, device: str) -> None:
    """All codes and lists of some, against the float64 reference, memory poisoned."""
    for listed in (None, max(1, size[1] // 3)):
        *operands, ids = points(size, dtype, device, listed)
        with poisoned():
            found = flow_mean(*operands, ids=ids, implementation=implementation)
        expected = reference(*(one.double() for one in operands), ids)
        assert found.mean.dtype == found.weight.dtype == dtype
        close(found.mean, expected.mean, RATIO[dtype], "mean")
        close(found.weight, expected.weight, RATIO[dtype], "weight")
        # Of two codes that float32 cannot tell apart either may be the first.
        apart = found.code != expected.code
        assert apart.sum() <= (0 if dtype == torch.float64 else len(apart) // 50)


def compare_filtered(implementation: str, device: str) -> None:
    """Codes of no probability have no part in anything, however near they are; those of all of it are everything."""
    z, tau, log_probs, codebook, _ = points((12, 70, 6), torch.float32, device)
    log_probs[:] = -math.inf
    log_probs[:, 7] = 0
    codebook[8] = z[0] / 3
    found = flow_mean(z, 3.0, log_probs, codebook, implementation=implementation)
    assert found.code.tolist() == [7] * 12
    assert torch.equal(found.mean, codebook[7].expand(12, -1))
    assert found.weight.tolist() == [1.0] * 12
    log_probs[3] = -math.inf
    log_probs[5, 7] = math.nan
    found = flow_mean(z, tau, log_probs, codebook, implementation=implementation)
    for row in (3, 5):
        assert found.mean[row].isnan().all()
        assert found.weight[row].isnan()
        assert 0 <= found.code[row] < 70
    assert found.mean[[0, 1, 2, 4]].isfinite().all()


def compare_velocity(implementation: str, device: str) -> None:
    """The formula of the paper with differences of every row and every code."""
    z, tau, log_probs, codebook, _ = points((30, 70, 5), torch.float32, device)
    s = (tau / (1 + tau)).double()
    x = z.double() / (1 + tau.double()[:, None])
    apart = (x[:, None] - s[:, None, None] * codebook.double()).square().sum(2)
    weights = (log_probs.double() - apart / (2 * (1 - s[:, None]).square())).softmax(1)
    expected = (weights @ codebook.double() - x) / (1 - s[:, None])
    found = flow_velocity(x.float(), s.float(), log_probs, codebook, implementation=implementation)
    close(found, expected, 2e-5, "velocity")


def compare_runs(implementation: str, device: str) -> None:
    """Two runs, in several pieces and tiles."""
    for size, listed in (((1, 4099, 30), None), ((5, 300, 17), 200), ((19, 129, 31), None)):
        *operands, ids = points(size, torch.float32, device, listed)
        repeatable(lambda operands=operands, ids=ids: flow_mean(*operands, ids=ids, implementation=implementation))


def compile_whole(implementation: str, device: str) -> None:
    """Inside `torch.compile` in one graph; and what `torch.library` asks of an op."""
    for listed in (None, 7):
        *operands, ids = points((6, 20, 4), torch.float32, device, listed)
        torch.library.opcheck(torch.ops.ar_kernels.flow_mean.default, (*operands, ids, implementation == "triton"))

        def both(z: Tensor, tau: Tensor, log_probs: Tensor, codebook: Tensor, ids=ids) -> tuple[Tensor, ...]:
            found = flow_mean(z, tau, log_probs, codebook, ids=ids, implementation=implementation)
            velocity = flow_velocity(z, 0.5, log_probs, codebook, ids=ids, implementation=implementation)
            return (*found, velocity)

        found = torch.compile(both, fullgraph=True, backend="aot_eager")(*operands)
        assert all(torch.equal(one, other) for one, other in zip(found, both(*operands), strict=True))
