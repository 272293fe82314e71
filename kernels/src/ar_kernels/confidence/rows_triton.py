"""Triton kernel of `ar_kernels.confidence`: one program a row, online softmax over tiles of the vocabulary.

For a tile with maximum m the running triple (m, s = sum e^(z-m), w = sum (z-m) e^(z-m)) is rescaled as in online
softmax, so that entropy = log s - w / s needs no second pass and does not cancel where the logits are large. The best
two values are carried along for token and margin.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["launch"]

TILE = 1024


@triton.jit
def _confidence_kernel(
    logits,
    banned,
    token,
    probability,
    entropy,
    margin,
    stride,
    vocabulary,
    num_banned,
    inverse_temperature,
    TILE: tl.constexpr,
):
    row = tl.program_id(0)
    offsets = tl.arange(0, TILE)
    best = -float("inf")
    second = -float("inf")
    best_id = 0
    total = 0.0
    weighted = 0.0
    for start in range(0, vocabulary, TILE):
        ids = start + offsets
        inside = ids < vocabulary
        z = tl.load(logits + row * stride + ids, mask=inside, other=-float("inf")).to(tl.float32) * inverse_temperature
        for j in range(num_banned):
            z = tl.where(ids == tl.load(banned + j), -float("inf"), z)
        tile_best = tl.max(z, axis=0)
        # The lowest id among equal values, as torch.argmax documents for the reference.
        tile_id = tl.min(tl.where(z == tile_best, ids, vocabulary), axis=0)
        tile_second = tl.max(tl.where(ids == tile_id, -float("inf"), z), axis=0)
        second = tl.maximum(tl.maximum(second, tile_second), tl.minimum(best, tile_best))
        best_id = tl.where(tile_best > best, tile_id, best_id)
        new_best = tl.maximum(best, tile_best)
        # A tile of banned ids only has maximum -inf; its exponentials are 0, not exp(-inf + inf).
        shift = tl.where(new_best == -float("inf"), 0.0, new_best)
        moved = tl.where(best == -float("inf"), 0.0, best - shift)
        rescale = tl.where(best == -float("inf"), 0.0, tl.exp(moved))
        below = tl.where(z == -float("inf"), 0.0, z - shift)
        e = tl.where(z == -float("inf"), 0.0, tl.exp(below))
        weighted = rescale * (weighted + moved * total) + tl.sum(below * e, axis=0)
        total = total * rescale + tl.sum(e, axis=0)
        best = new_best
    tl.store(token + row, best_id)
    tl.store(probability + row, 1.0 / total)
    tl.store(entropy + row, tl.maximum(tl.log(total) - weighted / total, 0.0))
    tl.store(margin + row, (1.0 - tl.exp(second - best)) / total)


def launch(logits: Tensor, temperature: float, banned_ids: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the kernel on logits [R, V]; returns token, probability, entropy and margin, each [R]."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    rows, vocabulary = logits.shape
    banned = torch.tensor(list(banned_ids) or [-1], dtype=torch.int64, device=logits.device)
    token = torch.empty(rows, dtype=torch.int64, device=logits.device)
    probability, entropy, margin = (torch.empty(rows, dtype=torch.float32, device=logits.device) for _ in range(3))
    if rows:
        _confidence_kernel[(rows,)](
            logits, banned, token, probability, entropy, margin, logits.stride(0), vocabulary, len(banned_ids),
            1.0 / temperature, TILE=TILE,
        )  # fmt: skip
    return token, probability, entropy, margin
