"""Triton kernel of `ar_kernels.confidence`: a program goes through a part of the logits of a row, once."""

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.confidence.online_triton import banned_on, include, joined, leave, room, without
from ar_kernels.launching import start

__all__ = ["launch"]

TILE = 1024
PROGRAMS = 1024
"""About as many as there should be, of rows and parts together."""


@triton.jit
def _rows_kernel(
    logits,
    banned,
    token,
    numbers,
    stride,
    rows,
    vocabulary,
    part_size,
    num_banned,
    inverse_temperature,
    TILE: tl.constexpr,
):
    row = tl.program_id(0) + tl.arange(0, 1)
    part = tl.program_id(1)
    best = tl.full([1], -float("inf"), tl.float32)
    second = tl.full([1], -float("inf"), tl.float32)
    best_id = tl.zeros([1], tl.int32)
    total = tl.zeros([1], tl.float32)
    weighted = tl.zeros([1], tl.float32)
    stop = tl.minimum((part + 1) * part_size, vocabulary)
    for first in range(part * part_size, stop, TILE):
        ids = first + tl.arange(0, TILE)
        at = row.to(tl.int64)[:, None] * stride + ids[None, :]
        z = tl.load(logits + at, mask=ids[None, :] < stop, other=-float("inf")).to(tl.float32) * inverse_temperature
        z = without(z, ids, banned, num_banned)
        best, second, best_id, total, weighted = include(z, ids, vocabulary, best, second, best_id, total, weighted)
    leave(token, numbers, part, rows, row, best, second, best_id, total, weighted)


def launch(logits: Tensor, temperature: float, banned_ids: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token, probability, entropy and margin, each [R], of logits [R, V]."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    rows, vocabulary = logits.shape
    tiles = triton.cdiv(vocabulary, TILE)
    part_size = triton.cdiv(tiles, min(tiles, max(1, PROGRAMS // max(1, rows)))) * TILE
    token, numbers = room(triton.cdiv(vocabulary, part_size), rows, logits.device)
    if rows:
        start(
            _rows_kernel, (rows, len(token)), logits, banned_on(tuple(banned_ids), logits.device), token, numbers, logits.stride(0), rows, vocabulary, part_size,
            len(banned_ids), 1.0 / temperature, TILE=TILE,
        )  # fmt: skip
    return joined(token, numbers)
