"""The running statistics of `online` in Triton, what takes banned ids out of the draw, and the join of parts.

A program goes through a part of the ids of some rows; parts, which there are so that a few rows fill the device, leave their
statistics to `joined`.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.launching import start

__all__ = ["banned_on", "include", "joined", "leave", "room", "without"]


@triton.jit
def without(z, ids, banned, num_banned):
    """Logits [R, n] with minus infinity at banned ids."""
    for j in range(num_banned):
        z = tl.where(ids[None, :] == tl.load(banned + j), -float("inf"), z)
    return z


@triton.jit
def include(z, ids, vocabulary, best, second, best_id, total, weighted):
    """The statistics [R] after logits [R, n] of higher ids than before; the lowest of equal ids wins."""
    tile_best = tl.max(z, axis=1)
    tile_id = tl.min(tl.where(z == tile_best[:, None], ids[None, :], vocabulary), axis=1)
    tile_second = tl.max(tl.where(ids[None, :] == tile_id[:, None], -float("inf"), z), axis=1)
    second = tl.maximum(tl.maximum(second, tile_second), tl.minimum(best, tile_best))
    best_id = tl.where(tile_best > best, tile_id, best_id)
    above = tl.maximum(best, tile_best)
    # A tile of banned ids only has maximum -inf; its exponentials are 0, not exp(-inf + inf).
    shift = tl.where(above == -float("inf"), 0.0, above)
    moved = tl.where(best == -float("inf"), 0.0, best - shift)
    rescale = tl.where(best == -float("inf"), 0.0, tl.exp(moved))
    below = tl.where(z == -float("inf"), 0.0, z - shift[:, None])
    e = tl.where(z == -float("inf"), 0.0, tl.exp(below))
    weighted = rescale * (weighted + moved * total) + tl.sum(below * e, axis=1)
    return above, second, best_id, total * rescale + tl.sum(e, axis=1), weighted


@triton.jit
def leave(token, numbers, part, rows, row, best, second, best_id, total, weighted):
    """Write the statistics of a part."""
    part = part.to(tl.int64)
    inside = row < rows
    tl.store(token + part * rows + row, best_id, mask=inside)
    tl.store(numbers + (part * 4 + 0) * rows + row, best, mask=inside)
    tl.store(numbers + (part * 4 + 1) * rows + row, second, mask=inside)
    tl.store(numbers + (part * 4 + 2) * rows + row, total, mask=inside)
    tl.store(numbers + (part * 4 + 3) * rows + row, weighted, mask=inside)


@triton.jit
def _join_kernel(token, numbers, winner, probability, entropy, margin, parts, rows, PARTS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, PARTS)
    real = part < parts
    at = numbers + part * 4 * rows + row
    best = tl.load(at, mask=real, other=-float("inf"))
    second = tl.load(at + rows, mask=real, other=-float("inf"))
    total = tl.load(at + 2 * rows, mask=real, other=0.0)
    weighted = tl.load(at + 3 * rows, mask=real, other=0.0)
    top = tl.max(best, axis=0)
    # Where no part has the best, since it is no number, any one's token does.
    first = tl.min(tl.where(best == top, part, parts - 1), axis=0)
    others = tl.max(tl.where(part == first, -float("inf"), best), axis=0)
    # A part with no id left has no weight; its distance to the best is no number.
    moved = tl.where(best == -float("inf"), 0.0, best - top)
    factor = tl.where(best == -float("inf"), 0.0, tl.exp(moved))
    weighted = tl.sum(factor * (weighted + moved * total), axis=0)
    total = tl.sum(factor * total, axis=0)
    # A softmax has no numbers where its largest logit is infinite.
    total = tl.where(tl.abs(top) == float("inf"), float("nan"), total)
    spread = tl.log(total) - weighted / total
    tl.store(winner + row, tl.load(token + first * rows + row))
    tl.store(probability + row, 1.0 / total)
    # Not a maximum with 0, which drops what is no number.
    tl.store(entropy + row, tl.where(spread < 0, 0.0, spread))
    tl.store(margin + row, (1.0 - tl.exp(tl.maximum(others, tl.max(second, axis=0)) - top)) / total)


@cache
def banned_on(ids: tuple[int, ...], device: torch.device) -> Tensor:
    """Ids on a device, int64 [number of ids, at least 1; -1 stands for none], copied once: a copy waits for the device, which a
    captured graph may not.

    They are kept for ever, since a captured graph reads them where they were; a sampler has one set, of a few bytes each.
    """
    return torch.tensor(ids or (-1,), dtype=torch.int64, device=device)


def room(parts: int, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens [P, R] and the numbers of `Statistics` [P, 4, R], not written yet."""
    return (
        torch.empty(parts, rows, dtype=torch.int64, device=device),
        torch.empty(parts, 4, rows, dtype=torch.float32, device=device),
    )


def joined(token: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the parts of the vocabulary found, as one; parts have higher ids than those before.

    Args:
        token: int64 [P, R], the best id of each of P parts.
        numbers: float32 [P, 4, R]: best logit, runner-up and the two sums of :class:`ar_kernels.confidence.online.Statistics`.

    Returns:
        Token int64 [R], and probability, entropy and margin, float32 [R] each.
    """
    parts, rows = token.shape
    winner = torch.empty(rows, dtype=torch.int64, device=token.device)
    found = [torch.empty(rows, dtype=torch.float32, device=token.device) for _ in range(3)]
    if rows:
        start(
            _join_kernel,
            (rows,),
            token,
            numbers,
            winner,
            *found,
            parts,
            rows,
            PARTS=triton.next_power_of_2(parts),
            num_warps=1,
        )
    return winner, found[0], found[1], found[2]
