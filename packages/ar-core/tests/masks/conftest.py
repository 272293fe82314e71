"""Masks beside tables written independently of the rules: plain loops over indices, on odd sizes."""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass
class Case:
    mask: Mask
    expected: Tensor


def table(sees: Callable[[int, int, int], bool], batch: int, queries: int, keys: int) -> Tensor:
    return torch.tensor(
        [[[[sees(b, q, k) for k in range(keys)] for q in range(queries)]] for b in range(batch)], dtype=torch.bool
    )


def over_itself(rule: Rule, sees: Callable[[int, int, int], bool], batch: int = 1, **ids: Tensor) -> Case:
    tokens = Tokens(**ids)
    return Case(Mask.self_attention(rule, tokens), table(sees, batch, tokens.length, tokens.length))


def full(length: int) -> Case:
    return over_itself(bidirectional(), lambda b, q, k: True, position=torch.arange(length))


def nothing() -> Case:
    return over_itself(~bidirectional(), lambda b, q, k: False, position=torch.arange(5))


def left_to_right(length: int) -> Case:
    return over_itself(causal(), lambda b, q, k: k <= q, position=torch.arange(length))


def right_to_left() -> Case:
    return over_itself(~causal(), lambda b, q, k: k > q, position=torch.arange(63))


def window(size: int) -> Case:
    rule = causal() & sliding_window(size)
    return over_itself(rule, lambda b, q, k: q - size < k <= q, position=torch.arange(100))


def left_padded() -> Case:
    lost = [0, 5, 63]
    valid = torch.tensor([[int(i >= n) for i in range(63)] for n in lost])
    rule = causal() & padding()
    return over_itself(rule, lambda b, q, k: lost[b] <= k <= q, batch=3, position=torch.arange(63), valid=valid)


def packed() -> Case:
    lengths = [[50, 1, 72], [7, 7, 109]]
    owner = [[d for d, n in enumerate(row) for _ in range(n)] for row in lengths]
    positions = [[i for n in row for i in range(n)] for row in lengths]
    return over_itself(
        causal() & document(),
        lambda b, q, k: k <= q and owner[b][k] == owner[b][q],
        batch=2,
        document=torch.tensor(owner),
        position=torch.tensor(positions),
    )


def prefix_model() -> Case:
    sizes = [3, 40]
    inside = torch.tensor([[int(i < n) for i in range(63)] for n in sizes])
    rule = causal() | prefix()
    return over_itself(rule, lambda b, q, k: k < sizes[b] or k <= q, batch=2, position=torch.arange(63), prefix=inside)


def block_pass_against_cache(cached: int, block: int, new: int) -> Case:
    keys = Tokens(block=torch.arange(cached + new) // block)
    mask = Mask(block_causal(), keys.slice(cached, cached + new), keys)
    return Case(mask, table(lambda b, q, k: k // block <= (cached + q) // block, 1, new, cached + new))


def ragged_cached_pass() -> Case:
    starts, new, span = [0, 11, 40], 7, 47
    queries = Tokens(position=torch.tensor(starts)[:, None] + torch.arange(new))
    slots = torch.arange(span)
    written = slots < (torch.tensor(starts) + new)[:, None]
    keys = Tokens(position=slots, valid=written)
    sees = table(lambda b, q, k: k <= starts[b] + q and k < starts[b] + new, 3, new, span)
    return Case(Mask(causal() & padding(), queries, keys), sees)


def diffusion(length: int, block: int, views: int, clean: str = "block", context: str = "clean") -> Case:
    order = [*range(1, views + 1), 0]
    layout = [(s, i) for s in order for i in range(length)]

    def sees(b: int, q: int, k: int) -> bool:
        (sq, iq), (sk, ik) = layout[q], layout[k]
        if sq == 0:
            return sk == 0 and (ik // block <= iq // block if clean == "block" else ik <= iq)
        if sk == sq:
            return ik // block == iq // block or (context == "noisy" and ik // block < iq // block)
        return sk == 0 and context == "clean" and ik // block < iq // block

    stream, index = (torch.tensor(column) for column in zip(*layout))
    rule = block_diffusion(clean=clean, context=context)
    return over_itself(rule, sees, stream=stream, block=index // block, position=index)


def packed_diffusion() -> Case:
    lengths = [[30, 1, 32], [9, 9, 45]]
    block = 4
    rows = []
    for row in lengths:
        tokens = [(d, i) for d, n in enumerate(row) for i in range(n)]
        rows.append([(s, d, i) for s in (1, 2, 0) for d, i in tokens])

    def sees(b: int, q: int, k: int) -> bool:
        (sq, dq, iq), (sk, dk, ik) = rows[b][q], rows[b][k]
        if dq != dk:
            return False
        if sq == sk and iq // block == ik // block:
            return True
        return sk == 0 and (ik // block < iq // block)

    ids = torch.tensor(rows)
    return over_itself(
        block_diffusion() & document(),
        sees,
        batch=2,
        stream=ids[..., 0],
        document=ids[..., 1],
        block=ids[..., 2] // block,
    )


def jacobi(interleaved: bool, context: int | None) -> Case:
    prompt, blocks, size = 9, 5, 3
    start = [(0, -1, i) for i in range(prompt)]

    def copy(stream: int, block: int) -> list[tuple[int, int, int]]:
        return [(stream, block, prompt + block * size + i) for i in range(size)]

    if interleaved:
        layout = start + [token for j in range(blocks) for token in copy(1, j) + copy(0, j)]
    else:
        layout = start + [token for s in (1, 0) for j in range(blocks) for token in copy(s, j)]

    def reads(query: tuple[int, int, int]) -> set[tuple[int, int, int]]:
        stream, block, position = query
        if block < 0:
            return set(start[: position + 1])
        own = {token for token in copy(stream, block) if token[2] <= position}
        group = 0 if context is None else block // context * context
        earlier = [copy(0, j) if stream == 0 or j < group else copy(1, j) for j in range(block)]
        return set(start) | own | {token for part in earlier for token in part}

    lists = [reads(token) for token in layout]
    stream, block, position = (torch.tensor(column) for column in zip(*layout))
    return over_itself(
        noise_aware_causal(context),
        lambda b, q, k: layout[k] in lists[q],
        stream=stream,
        block=block,
        position=position,
    )


def drafted_tree() -> Case:
    nodes, cached = 63, 37
    generator = torch.Generator().manual_seed(0)
    parents = [-1] + [int(torch.randint(-1, i, (), generator=generator)) for i in range(1, nodes)]

    def sees(b: int, q: int, k: int) -> bool:
        if k < cached:
            return True
        node = q
        while node not in (-1, k - cached):
            node = parents[node]
        return node == k - cached

    enter, leave = tree_intervals(parents)
    queries = Tokens(enter=enter)
    context = Tokens(enter=torch.zeros(cached, dtype=torch.int64), exit=torch.full((cached,), nodes))
    keys = Tokens.cat([context, Tokens(enter=enter, exit=leave)])
    return Case(Mask(tree(), queries, keys), table(sees, 1, nodes, cached + nodes))


def scales(strict: bool) -> Case:
    of = [s for s, side in enumerate((1, 2, 3, 5, 7)) for _ in range(side * side)]
    if strict:
        rule, sees = scale_strict_plus_self(), lambda b, q, k: of[k] < of[q] or k == q
    else:
        rule, sees = scale_causal(), lambda b, q, k: of[k] <= of[q]
    return over_itself(rule, sees, scale=torch.tensor(of), position=torch.arange(len(of)))


CASES: dict[str, Callable[[], Case]] = {
    "full-100": lambda: full(100),
    "nothing": nothing,
    "causal-1": lambda: left_to_right(1),
    "causal-63": lambda: left_to_right(63),
    "causal-300": lambda: left_to_right(300),
    "anticausal": right_to_left,
    "window-5": lambda: window(5),
    "window-1": lambda: window(1),
    "left-padded": left_padded,
    "packed": packed,
    "prefix": prefix_model,
    "block-cached": lambda: block_pass_against_cache(63, 7, 20),
    "block-cold": lambda: block_pass_against_cache(0, 7, 100),
    "one-query": lambda: block_pass_against_cache(62, 8, 1),
    "ragged-cached": ragged_cached_pass,
    "diffusion-2L": lambda: diffusion(100, 7, 1),
    "diffusion-2L-one-token": lambda: diffusion(1, 4, 1),
    "diffusion-2L-one-block": lambda: diffusion(9, 9, 1),
    "diffusion-2L-block-1": lambda: diffusion(30, 1, 1),
    "diffusion-3L": lambda: diffusion(63, 8, 2),
    "diffusion-3L-token": lambda: diffusion(41, 5, 2, clean="token"),
    "diffusion-2L-noisy": lambda: diffusion(63, 10, 1, context="noisy"),
    "diffusion-packed": packed_diffusion,
    "jacobi-noisy": lambda: jacobi(False, None),
    "jacobi-clean": lambda: jacobi(False, 1),
    "jacobi-window": lambda: jacobi(False, 2),
    "jacobi-interleaved": lambda: jacobi(True, 3),
    "tree": drafted_tree,
    "scales": lambda: scales(strict=False),
    "scales-strict": lambda: scales(strict=True),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()
