"""Masks that every backend is compared on: each rule with each option, square and over a cache, shared and row by row."""

from collections.abc import Callable

import pytest
import torch
from ar_core.masks import (
    Mask,
    Rule,
    Tokens,
    bidirectional,
    block_causal,
    block_diffusion,
    causal,
    document,
    noise_aware_causal,
    padding,
    prefix,
    scale_causal,
    scale_strict_plus_self,
    sliding_window,
    tree,
    tree_intervals,
)
from torch import Tensor

BATCH = 2
STARTS = torch.tensor([0, 113])
"""First slots of the windows of two rows."""


def over_itself(rule: Rule, **ids: Tensor) -> Mask:
    return Mask.self_attention(rule, Tokens(**ids))


def sequence(length: int, **more: Tensor) -> Tokens:
    return Tokens(position=torch.arange(length), **more)


def window(rule: Rule, tokens: Tokens, first: int, last: int) -> Mask:
    """The tokens from `first` to `last` over all of them."""
    return Mask(rule, tokens.slice(first, last), tokens)


def streams(length: int, block: int, views: int) -> Tokens:
    index = torch.arange(length)
    order = [*range(1, views + 1), 0]
    return Tokens.cat([Tokens(stream=torch.full((length,), s), block=index // block, position=index) for s in order])


def owners(*rows: tuple[int, ...]) -> Tensor:
    """Documents of these lengths, [L] or [B, L]."""
    found = torch.stack([torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in rows])
    return found[0] if len(rows) == 1 else found


def packed(*rows: tuple[int, ...]) -> Tokens:
    """Documents in one row after the other, positions and blocks of 8 counted anew in each."""
    places = [torch.cat([torch.arange(n) for n in row]) for row in rows]
    position = places[0] if len(rows) == 1 else torch.stack(places)
    return Tokens(position=position, block=position // 8, document=owners(*rows))


def packed_streams(views: int, *rows: tuple[int, ...]) -> Tokens:
    clean = packed(*rows)
    order = [*range(1, views + 1), 0]
    return Tokens.cat([clean.with_ids(stream=torch.full((clean.length,), stream)) for stream in order])


def jacobi(prompt: int, length: int, block: int) -> Tokens:
    """[prompt | noisy | clean]."""
    start, copies = torch.arange(prompt), torch.arange(length)
    parts = [Tokens(stream=torch.zeros_like(start), block=torch.full_like(start, -1), position=start)]
    parts += [
        Tokens(stream=torch.full_like(copies, s), block=copies // block, position=prompt + copies) for s in (1, 0)
    ]
    return Tokens.cat(parts)


def jacobi_rows() -> Tokens:
    """Two samples in a row, others in the other row; positions go on, so that documents alone keep them apart."""
    one, other = jacobi(21, 60, 9), jacobi(40, 51, 7)
    rows = []
    for parts in ((one, other), (other, one)):
        owner = torch.cat([torch.full((part.length,), n) for n, part in enumerate(parts)])
        rows.append(Tokens.cat(list(parts)).with_ids(document=owner))
    return Tokens(**{name: torch.stack([row[name] for row in rows]) for name in rows[0].names})


def ragged(rule: Rule, new: int, span: int, **of_slots: Tensor) -> Mask:
    """Rows at different places of a cache, whose slots behind the rows hold nothing yet."""
    places = STARTS[:, None] + torch.arange(new)
    slots = torch.arange(span)
    valid = slots < (STARTS + new)[:, None]
    keys = Tokens(position=slots, block=slots // 8, valid=valid, **of_slots)
    queries = Tokens(position=places, block=places // 8, **{name: ids[places] for name, ids in of_slots.items()})
    return Mask(rule, queries, keys)


def drafts(cached: int, *trees: list[int]) -> Mask:
    """Nodes of a tree of each row, or of one that all share, behind what is cached."""
    both = [tree_intervals(parents) for parents in trees]
    enter, leave = (torch.stack(ids) if len(trees) > 1 else ids[0] for ids in zip(*both))
    before = torch.zeros(*enter.shape[:-1], cached, dtype=torch.int64)
    keys = Tokens(enter=torch.cat([before, enter], -1), exit=torch.cat([before + enter.shape[-1], leave], -1))
    return Mask(tree(), Tokens(enter=enter), keys)


SCALE = torch.arange(6).repeat_interleave(torch.tensor([side * side for side in (1, 2, 3, 4, 6, 8)]))
PREFIX = (torch.arange(150) < torch.tensor([[3], [70]])).long()
LEFT_PADDED = torch.arange(150) >= torch.tensor([[0], [141]])
CHAIN = [-1, 0, 1, 2, 3, 4, 5, 6]
BUSH = [-1, 0, 0, 1, 1, 2, -1, 6]


def scales(**more: Tensor) -> Tokens:
    return sequence(len(SCALE), scale=SCALE, **more)


def scales_padded() -> Tokens:
    return scales(valid=torch.arange(len(SCALE)) < torch.tensor([[55], [130]]))


MASKS: dict[str, Callable[[], Mask]] = {
    "full": lambda: over_itself(bidirectional(), position=torch.arange(150)),
    "full, cached": lambda: window(bidirectional(), sequence(150), 130, 150),
    "full, padded": lambda: over_itself(bidirectional() & padding(), valid=LEFT_PADDED),
    "full, padded, cached": lambda: ragged(bidirectional() & padding(), 20, 150),
    "nothing": lambda: over_itself(~bidirectional(), position=torch.arange(130)),
    "padding": lambda: over_itself(padding(), valid=torch.arange(150) % 3),
    "padding, cached": lambda: ragged(padding(), 7, 130),
    "causal, 1": lambda: over_itself(causal(), position=torch.arange(1)),
    "causal, 300": lambda: over_itself(causal(), position=torch.arange(300)),
    "causal, reversed": lambda: over_itself(causal(), position=torch.arange(150).flip(0)),
    "causal, cached": lambda: window(causal(), sequence(200), 168, 200),
    "causal, cached, one query": lambda: window(causal(), sequence(77), 76, 77),
    "causal, cached, in the middle": lambda: window(causal(), sequence(150), 40, 73),
    "causal, cached, row by row": lambda: ragged(causal(), 32, 150),
    "causal, left-padded": lambda: over_itself(causal() & padding(), position=torch.arange(150), valid=LEFT_PADDED),
    "causal, padded, cached": lambda: ragged(causal() & padding(), 63, 200),
    "anticausal": lambda: over_itself(~causal(), position=torch.arange(137)),
    "anticausal, cached": lambda: window(~causal(), sequence(137), 60, 77),
    "sliding": lambda: over_itself(causal() & sliding_window(17), position=torch.arange(200)),
    "sliding, past alone": lambda: over_itself(sliding_window(1), position=torch.arange(140)),
    "sliding, cached": lambda: window(causal() & sliding_window(9), sequence(150), 120, 150),
    "sliding, padded, cached": lambda: ragged(causal() & padding() & sliding_window(5), 20, 150),
    "sliding, packed": lambda: Mask.self_attention(
        causal() & sliding_window(40) & document(), packed((100, 1, 49), (150,))
    ),
    "documents": lambda: over_itself(document(), document=owners((100, 1, 49), (30, 60, 60))),
    "documents, full": lambda: over_itself(document() & bidirectional(), document=owners((33, 100))),
    "documents, cached": lambda: window(document(), Tokens(document=owners((90, 60), (140, 10))), 130, 150),
    "packed": lambda: Mask.self_attention(causal() & document(), packed((150, 1, 149), (40, 60, 200))),
    "packed, positions going on": lambda: Mask.self_attention(
        document() & causal(), sequence(150, document=owners((100, 50)))
    ),
    "prefix": lambda: over_itself(prefix(), prefix=PREFIX),
    "prefix model": lambda: over_itself(causal() | prefix(), position=torch.arange(150), prefix=PREFIX),
    "prefix model, cached": lambda: window(causal() | prefix(), sequence(150, prefix=PREFIX), 60, 90),
    "prefix of documents": lambda: Mask.self_attention(
        (causal() | prefix()) & document(), packed((100, 50), (150,)).with_ids(prefix=PREFIX)
    ),
    "blocks": lambda: over_itself(block_causal(), block=torch.arange(150) // 7),
    "blocks, cached": lambda: window(block_causal(), Tokens(block=torch.arange(150) // 7), 120, 150),
    "blocks, cached, row by row": lambda: ragged(block_causal(), 20, 150),
    "blocks, padded, cached": lambda: ragged(block_causal() & padding(), 20, 150),
    "diffusion, 2L": lambda: Mask.self_attention(block_diffusion(), streams(128, 32, 1)),
    "diffusion, 2L, odd": lambda: Mask.self_attention(block_diffusion(), streams(123, 7, 1)),
    "diffusion, 3L": lambda: Mask.self_attention(block_diffusion(), streams(64, 16, 2)),
    "diffusion, 3L, odd": lambda: Mask.self_attention(block_diffusion(), streams(100, 33, 2)),
    "diffusion, token": lambda: Mask.self_attention(block_diffusion(clean="token"), streams(41, 5, 2)),
    "diffusion, noisy": lambda: Mask.self_attention(block_diffusion(context="noisy"), streams(70, 10, 1)),
    "diffusion, token, noisy": lambda: Mask.self_attention(
        block_diffusion(clean="token", context="noisy"), streams(45, 4, 2)
    ),
    "diffusion, packed": lambda: Mask.self_attention(
        block_diffusion() & document(), packed_streams(2, (30, 1, 32), (9, 9, 45))
    ),
    "diffusion, packed alike": lambda: Mask.self_attention(
        document() & block_diffusion(clean="token"), packed_streams(1, (50, 27))
    ),
    "diffusion, padded": lambda: Mask.self_attention(
        block_diffusion() & padding(), streams(50, 8, 1).with_ids(valid=torch.arange(100) % 7)
    ),
    "diffusion, cached": lambda: window(block_diffusion(), streams(80, 8, 1), 40, 80),
    "jacobi": lambda: Mask.self_attention(noise_aware_causal(), jacobi(41, 90, 9)),
    "jacobi, clean context": lambda: Mask.self_attention(noise_aware_causal(1), jacobi(17, 60, 9)),
    "jacobi, noisy in window": lambda: Mask.self_attention(noise_aware_causal(2), jacobi(17, 60, 9)),
    "jacobi, packed": lambda: Mask.self_attention(noise_aware_causal(2) & document(), jacobi_rows()),
    "jacobi, cached": lambda: window(noise_aware_causal(), jacobi(41, 30, 9), 50, 71),
    "scales": lambda: Mask.self_attention(scale_causal(), scales()),
    "scales, cached": lambda: window(scale_causal(), scales(), 66, 130),
    "scales, padded, cached": lambda: window(scale_causal() & padding(), scales_padded(), 30, 66),
    "scales, strict": lambda: Mask.self_attention(scale_strict_plus_self(), scales()),
    "scales, strict, cached": lambda: window(scale_strict_plus_self(), scales(), 66, 130),
    "scales, strict, padded": lambda: Mask.self_attention(scale_strict_plus_self() & padding(), scales_padded()),
    "tree": lambda: drafts(0, BUSH * 4),
    "tree, cached": lambda: drafts(60, BUSH),
    "tree, cached, row by row": lambda: drafts(60, CHAIN, BUSH),
}


@pytest.fixture(params=list(MASKS))
def mask(request: pytest.FixtureRequest) -> Mask:
    return MASKS[request.param]()


@pytest.fixture
def every_mask() -> dict[str, Mask]:
    return {name: make() for name, make in MASKS.items()}


@pytest.fixture
def training_mask() -> Mask:
    return MASKS["diffusion, 3L, odd"]()


@pytest.fixture
def tensors() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """q, k, v for a mask: batch 2, 6 query heads over 2 key heads of width 8, in float64 unless told otherwise."""

    def make(
        mask: Mask, dtype: torch.dtype = torch.float64, grad: bool = False, heads: tuple[int, int] = (6, 2)
    ) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        _, _, queries, keys = mask.shape
        shapes = [(BATCH, n, length, 8) for n, length in ((heads[0], queries), (heads[1], keys), (heads[1], keys))]
        q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
        return q.requires_grad_(grad), k.requires_grad_(grad), v.requires_grad_(grad)

    return make


@pytest.fixture
def poisoned():
    """Uninitialised memory, in Python and inside torch's operators, reads as NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.fixture
def reference() -> Callable[[Tensor, Tensor, Tensor, Mask], Tensor]:
    """Attention written out: softmax over visible keys, 0 where nothing is visible."""

    def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> Tensor:
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        scores = (q @ k.mT) * q.shape[-1] ** -0.5
        weights = scores.exp() * mask.dense()
        total = weights.sum(-1, keepdim=True)
        return weights @ v / (total + (total == 0))

    return compute
