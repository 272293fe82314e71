"""How much a mask holds at once, and how much work its segments leave."""

import pytest
import torch
from ar_core.masks import (
    Mask,
    Rule,
    Tokens,
    block_diffusion,
    causal,
    document,
    noise_aware_causal,
    scale_causal,
    tree,
    tree_intervals,
)
from torch.utils._python_dispatch import TorchDispatchMode


class LargestTensor(TorchDispatchMode):
    """Number of elements of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def streams(length: int, block: int, order: tuple[int, ...] = (1, 2, 0)) -> Tokens:
    index = torch.arange(length)
    return Tokens.cat([Tokens(stream=torch.full((length,), s), block=index // block, position=index) for s in order])


def grouped_jacobi(prompt: int, blocks: int, size: int) -> Tokens:
    start = torch.arange(prompt)
    block = torch.arange(blocks).repeat_interleave(size)
    position = prompt + torch.arange(blocks * size)
    return Tokens.cat(
        [
            Tokens(stream=torch.zeros_like(start), block=torch.full_like(start, -1), position=start),
            Tokens(stream=torch.ones_like(block), block=block, position=position),
            Tokens(stream=torch.zeros_like(block), block=block, position=position),
        ]
    )


def documents(lengths: list[int], block: int) -> Tokens:
    owner = torch.cat([torch.full((n,), d) for d, n in enumerate(lengths)])
    index = torch.cat([torch.arange(n) for n in lengths])
    return Tokens.cat([Tokens(stream=torch.full_like(owner, s), document=owner, block=index // block) for s in (1, 0)])


VAR = Tokens(
    scale=torch.tensor([s for s, side in enumerate((1, 2, 3, 4, 5, 6, 8, 10, 13, 16)) for _ in range(side**2)])
)


@pytest.mark.parametrize(
    ("rule", "tokens", "ranges", "work"),
    [
        pytest.param(causal(), Tokens(position=torch.arange(1024)), 1, 1.13, id="causal"),
        pytest.param(block_diffusion(), streams(1024, 32, (1, 0)), 2, 1.22, id="diffusion-2L"),
        pytest.param(block_diffusion(), streams(1024, 32), 2, 1.22, id="diffusion-3L"),
        pytest.param(block_diffusion(), streams(1000, 48), 2, 1.12, id="diffusion-block-48"),
        pytest.param(noise_aware_causal(), grouped_jacobi(100, 14, 32), 2, 1.25, id="jacobi"),
        pytest.param(noise_aware_causal(4), grouped_jacobi(100, 14, 32), 3, 1.35, id="jacobi-window"),
        pytest.param(scale_causal(), VAR, 1, 1.01, id="var"),
        pytest.param(
            block_diffusion() & document(), documents([100, 260, 31, 200, 150, 183, 100], 8), 3, 2.0, id="packed"
        ),
    ],
)
def test_segments_never_hold_the_whole_and_skip_most_of_what_is_hidden(
    rule: Rule, tokens: Tokens, ranges: int, work: float
):
    mask, rows, length = Mask.self_attention(rule, tokens), 128, tokens.length
    with LargestTensor() as largest:
        segments = mask.segments(rows)
    assert largest.elements <= rows * length
    assert sum(segment.tile.numel() for segment in segments if segment.tile is not None) < length * length
    assert max(len(segment.keys) for segment in segments) <= ranges
    assert sum(segment.area for segment in segments) <= work * int(mask.dense().sum())


def test_the_counter_sees_a_dense_mask():
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(1024)))
    with LargestTensor() as largest:
        mask.dense()
    assert largest.elements == 1024 * 1024


def test_block_mask_never_holds_the_whole():
    mask = Mask.self_attention(block_diffusion(), streams(1024, 32))
    with LargestTensor() as largest:
        mask.block_mask()
    assert largest.elements == 128 * 3072


def test_dense_mask_of_a_decoding_pass_is_a_handful_of_operations():
    class Count(TorchDispatchMode):
        number = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Count.number += 1
            return func(*args, **(kwargs or {}))

    enter, leave = tree_intervals([-1, 0, 0, 1])
    mask = Mask(tree(), Tokens(enter=enter), Tokens(enter=enter, exit=leave))
    with Count():
        mask.dense()
        mask.dense()
    assert Count.number <= 12
