"""Every rendering of every rule equals a table written without it."""

from itertools import pairwise

import pytest
import torch
from ar_core.masks import Mask
from torch.nn.attention.flex_attention import create_block_mask


def from_segments(mask: Mask, rows: int) -> torch.Tensor:
    batch = mask.shape[0]
    allowed = torch.zeros(mask.shape, dtype=torch.bool)
    for row in range(batch):
        for segment in mask.segments(rows, batch=row):
            columns = torch.cat([torch.arange(*span) for span in segment.keys]) if segment.keys else []
            if segment.keys:
                tile = segment.tile
                lines = torch.arange(*segment.rows)
                allowed[row, 0, lines[:, None], columns] = True if tile is None else tile
    return allowed


def test_dense(case):
    assert case.mask.shape == tuple(case.expected.shape)
    assert torch.equal(case.mask.dense(), case.expected)
    assert case.mask.dense() is case.mask.dense()


def test_predicate(case):
    mod = case.mask.predicate()
    b, h, q, k = (torch.arange(n) for n in case.mask.shape)
    for over in (3, 2, 1, 0):
        mod = torch.vmap(mod, in_dims=tuple(0 if axis == over else None for axis in range(4)))
    assert torch.equal(mod(b, h, q, k), case.expected)


@pytest.mark.parametrize("block_size", [16, 128])
def test_block_mask(case, block_size):
    ours = case.mask.block_mask(block_size)
    batch, _, queries, keys = case.mask.shape
    theirs = create_block_mask(case.mask.predicate(), batch, 1, queries, keys, "cpu", BLOCK_SIZE=block_size)
    assert ours.seq_lengths == theirs.seq_lengths == (queries, keys)
    for counts, indices in (("kv_num_blocks", "kv_indices"), ("full_kv_num_blocks", "full_kv_indices")):
        for ours_row, theirs_row in zip(block_lists(ours, counts, indices), block_lists(theirs, counts, indices)):
            assert ours_row == theirs_row
    assert ours is case.mask.block_mask(block_size)


def block_lists(block_mask, counts: str, indices: str) -> list[list[int]]:
    number, index = getattr(block_mask, counts).flatten(), getattr(block_mask, indices).flatten(0, -2)
    return [sorted(row[:n].tolist()) for row, n in zip(index, number.tolist())]


@pytest.mark.parametrize("rows", [1, 7, 64, 128])
def test_segments(case, rows):
    assert torch.equal(from_segments(case.mask, rows), case.expected)
    for row in range(case.mask.shape[0]):
        segments = case.mask.segments(rows, batch=row)
        assert segments is case.mask.segments(rows, batch=row)
        edges = [segment.rows for segment in segments]
        assert [edge[0] for edge in edges] == [0, *(edge[1] for edge in edges[:-1])]
        assert edges[-1][1] == case.mask.shape[2]
        assert all(0 < stop - start <= rows for start, stop in edges)


def test_segments_are_tight(case):
    for row in range(case.mask.shape[0]):
        expected = case.expected[row, 0]
        for segment in case.mask.segments(32, batch=row):
            chunk = expected[slice(*segment.rows)]
            columns = [column for span in segment.keys for column in range(*span)]
            assert columns == torch.nonzero(chunk.any(dim=0)).flatten().tolist()
            assert all(before[1] < after[0] for before, after in pairwise(segment.keys))
            assert (segment.tile is None) == bool(chunk[:, columns].all())


def test_order_of_tokens_is_free(case):
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randperm(n, generator=generator) for n in case.mask.shape[2:])
    permuted = Mask(case.mask.rule, case.mask.queries.permute(q), case.mask.keys.permute(k))
    assert torch.equal(permuted.dense(), case.expected[:, :, q][..., k])
