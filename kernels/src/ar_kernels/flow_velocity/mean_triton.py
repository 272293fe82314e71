"""Triton kernel of `ar_kernels.flow_mean`: a program takes a row and goes through its codes tile by tile.

Maximum, sum and mean are those of the codes so far, rescaled when a larger score comes. A tile is read once and serves the score
and the mean. Codes come from the L2 cache, in which any codebook fits; what a row reads of its own are its log probabilities.
Products are sums of float32: halves of their digits, as tensor cores would take, decide draws otherwise.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.launching import start

__all__ = ["launch"]

ELEMENTS = 4096
"""Numbers of a tile of codes."""


@triton.jit
def _mean_kernel(
    z,
    tau,
    log_probs,
    codebook,
    ids,
    means,
    codes,
    weights,
    z_stride,
    log_probs_stride,
    codebook_stride,
    ids_stride,
    listed,
    width,
    LISTED: tl.constexpr,
    CODES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    inside = column < width
    query = tl.load(z + row * z_stride + column, mask=inside, other=0.0)
    time = tl.load(tau + row)
    highest = tl.full([], float("-inf"), tl.float32)
    total = tl.zeros([], tl.float32)
    mean = tl.zeros([WIDTH], tl.float32)
    best = tl.zeros([], tl.int64)
    for first in range(0, listed, CODES):
        place = first + tl.arange(0, CODES)
        there = place < listed
        id = place.to(tl.int64)
        if LISTED:
            id = tl.load(ids + row * ids_stride + id, mask=there, other=0)
        tile = tl.load(
            codebook + id[:, None] * codebook_stride + column[None, :], mask=there[:, None] & inside[None, :], other=0.0
        )
        product = tl.sum(tile * query[None, :], axis=1)
        norm = tl.sum(tile * tile, axis=1)
        bias = tl.load(log_probs + row * log_probs_stride + place, mask=there, other=float("-inf"))
        score = tl.where(there, bias + time * product - time * time * 0.5 * norm, float("-inf"))
        top = tl.max(score, axis=0)
        at = tl.min(tl.where(score == top, place, listed), axis=0)
        chosen = tl.sum(tl.where(place == at, id, 0), axis=0)
        best = tl.where(top > highest, chosen, best)
        now = tl.maximum(highest, top)
        # Before the first code that can be drawn everything is -inf, and differences would be no numbers.
        base = tl.where(now == float("-inf"), 0.0, now)
        kept = tl.exp(highest - base)
        part = tl.exp(score - base)
        total = total * kept + tl.sum(part, axis=0)
        mean = mean * kept + tl.sum(part[:, None] * tile, axis=0)
        highest = now
    tl.store(means + row * width + column, mean / total, mask=inside)
    tl.store(codes + row, best)
    # Of a row without any code that can be drawn, 0 / 0 too.
    tl.store(weights + row, total / total / total)


def launch(
    z: Tensor, tau: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean float32 [N, C], code int64 [N] and weight float32 [N].

    Arguments as :func:`ar_kernels.flow_velocity.flow_mean`, checked.
    """
    z, tau, log_probs, codebook = (one.float() for one in (z, tau, log_probs, codebook))
    z, log_probs, codebook = (one if one.stride(1) == 1 else one.contiguous() for one in (z, log_probs, codebook))
    listed = ids if ids is None or ids.stride(1) == 1 else ids.contiguous()
    rows, width = z.shape
    mean = torch.empty(rows, width, dtype=torch.float32, device=z.device)
    code = torch.empty(rows, dtype=torch.int64, device=z.device)
    weight = torch.empty(rows, dtype=torch.float32, device=z.device)
    padded = triton.next_power_of_2(width)
    if rows:
        start(
            _mean_kernel, (rows,), z, tau.contiguous(), log_probs, codebook, code if listed is None else listed, mean, code,
            weight, z.stride(0), log_probs.stride(0), codebook.stride(0), 0 if listed is None else listed.stride(0),
            log_probs.shape[1], width, LISTED=listed is not None, CODES=max(16, ELEMENTS // padded), WIDTH=padded, num_warps=4,
        )  # fmt: skip
    return mean, code, weight
