"""One forward pass for rows that stand at different blocks.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone, check_sound, pick
from ar_core.masks import Mask, Tokens, block_causal, causal
from ar_core.sampling import Sampler

from .policy import BlockPolicy
from .row import BlockRow, Move

__all__ = ["run_pass"]


def run_pass(
    backbone: Backbone,
    cache: WindowedKVCache,
    rows: Sequence[BlockRow],
    moves: Mapping[int, Move],
    policy: BlockPolicy,
    sampler: Sampler,
) -> tuple[list[int], list[float]]:
    """Run the model once for some rows of the cache, and pick a token for every target.

    Args:
        backbone: the model.
        cache: B rows; those in `moves` take part.
        rows: the rows, in the order of `moves`.
        moves: row of the cache -> move. Lengths may differ in prefill only: shorter rows are filled up on the right,
            which is later overwritten and belongs to blocks that no real token of the pass sees.
        policy: visibility, alignment of the logits, which confidence.
        sampler: draws; row by row, left to right.

    Returns:
        Tokens and confidences of the targets of all moves, one after another, on the host.

    Raises:
        NumericsError: the logits are not numbers.
    """
    asked = list(moves.values())
    length = max(move.length for move in asked)
    cache.window(
        length,
        start=[move.start for move in asked],
        visible=[max(move.visible, move.start + length) for move in asked],
        rows=None if len(asked) == cache.batch else list(moves),
    )
    reads = [line * length + read for line, move in enumerate(asked) for read in move.reads(policy.shift)]
    tokens = [token for row, move in zip(rows, asked) for token in row.input(move, length)]
    # One upload before the model starts: a later one would wait for it.
    ids, index = torch.tensor(tokens + reads, device=backbone.device).split((len(tokens), len(reads)))
    positions = cache.query_positions()
    hidden = backbone.hidden(
        ids.view(len(asked), length),
        positions=positions,
        mask=_mask(cache, rows, asked, policy, positions),
        cache=cache,
    )
    kept = [move.keep for move in asked]
    if any(kept):
        cache.keep(kept)
    if not reads:
        return [], []
    generators = None if sampler.greedy else [row.generator for row, move in zip(rows, asked) for _ in move.targets]
    picked, confidence = pick(
        backbone,
        hidden.flatten(0, 1).index_select(0, index),
        sampler,
        generators,
        raw_confidence=policy.confidence == "raw",
    )
    assert confidence is not None
    if picked.device.type != "cpu":
        # One transfer for both: the bits of the confidences travel as integers.
        packed = torch.stack((picked.int(), confidence.float().view(torch.int32))).cpu()
        picked, confidence = packed[0], packed[1].view(torch.float32)
    tokens = picked.tolist()
    check_sound(tokens)
    return tokens, confidence.tolist()


def _mask(
    cache: WindowedKVCache, rows: Sequence[BlockRow], moves: Sequence[Move], policy: BlockPolicy, queries: Tensor
) -> Mask | None:
    """Who may see whom in the pass; None where nothing is hidden.

    Blocks are counted from each row's own, so that one rule serves both grids and rows at different blocks; slots
    that a row has not written, or that another row's window left behind, lie in later blocks and are hidden by the
    same rule.
    """
    if cache.uniform and all(move.shows_all and move.length == queries.shape[1] for move in moves):
        return None
    keys = torch.arange(cache.span, device=queries.device)
    if policy.context == "causal" and moves[0].phase in ("prefill", "commit"):
        return Mask(causal(), Tokens(position=queries), Tokens(position=keys))
    origin = torch.tensor([[row.start] for row in rows], device=queries.device)
    blocks = [torch.div(slots - origin, policy.block_size, rounding_mode="floor") for slots in (queries, keys)]
    if policy.context == "bidirectional":
        blocks = [ids.clamp(min=-1) for ids in blocks]
    # Positions are for layers with a sliding window, which narrow it.
    return Mask(block_causal(), Tokens(block=blocks[0], position=queries), Tokens(block=blocks[1], position=keys))
