"""A mask as FlexAttention's ``BlockMask``: rendered without ever holding Q x K, and once for equal structures.

Source: ours, over PyTorch's FlexAttention (arXiv 2412.05496).
"""

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ar_core.masks.axis import predicate, visible
from ar_core.masks.rule import Rule
from ar_core.masks.tokens import Tokens

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["block_mask"]


class _Rendered(NamedTuple):
    """A structure, with ids of its own, and its rendering."""

    rule: Rule
    queries: Tokens
    keys: Tokens
    block_size: int
    result: "BlockMask"


_RENDERED: deque[_Rendered] = deque(maxlen=8)
"""The latest structures, of which a training run or a decoder has few."""


def block_mask(rule: Rule, queries: Tokens, keys: Tokens, block_size: int) -> "BlockMask":
    """Render a rule, or return what was rendered for the same rule over the same ids before.

    Only ids shared by the batch are looked up: packed rows hardly come again. Looking up reads ids on the host, for which
    ``torch.compile`` cannot wait; while it traces, every mask is rendered.

    Args:
        rule: the rule.
        queries: Q tokens.
        keys: K tokens.
        block_size: rows and columns of a block.

    Returns:
        BlockMask of batch size B (1 if all ids are shared) and one head.
    """
    shared = queries.batch is None and keys.batch is None and queries.device.type != "meta"
    if not shared or torch.compiler.is_compiling():
        return _render(rule, queries, keys, block_size)
    for one in tuple(_RENDERED):
        if (
            (one.rule, one.block_size) == (rule, block_size)
            and _alike(one.queries, queries, rule.queries)
            and _alike(one.keys, keys, rule.keys)
        ):
            return one.result
    # Ids are copied: whoever owns these may write the next pass's into the same memory. What is rendered in inference mode
    # could not be used in training.
    with torch.inference_mode(False):
        own_queries = _copy(queries)
        own_keys = own_queries if queries is keys else _copy(keys)
        result = _render(rule, own_queries, own_keys, block_size)
    _RENDERED.append(_Rendered(rule, own_queries, own_keys, block_size, result))
    return result


def _alike(one: Tokens, other: Tokens, names: frozenset[str]) -> bool:
    return (
        one.length == other.length
        and one.device == other.device
        and all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in names)
    )


def _copy(tokens: Tokens) -> Tokens:
    return Tokens(**{name: tokens[name].clone() for name in tokens.names})


def _render(rule: Rule, queries: Tokens, keys: Tokens, block_size: int) -> "BlockMask":
    """Sort the blocks of the attention matrix into empty, partial and full, one row of blocks at a time."""
    # Importing FlexAttention costs about a second, which a program that never asks for a BlockMask should not pay.
    from torch.nn.attention.flex_attention import BlockMask

    columns = -(-keys.length // block_size)
    partial, full = [], []
    for start in range(0, queries.length, block_size):
        allowed = visible(rule, queries.slice(start, min(start + block_size, queries.length)), keys)
        allowed = allowed.expand(1, *allowed.shape) if allowed.ndim == 2 else allowed
        # Rows and columns beyond the sequence count as hidden, so that no block reaching over the edge is full.
        short = block_size - allowed.shape[1]
        allowed = pad(allowed, (0, columns * block_size - keys.length, 0, short))
        blocks = allowed.unflatten(2, (columns, block_size))
        everything = blocks.all(dim=3).all(dim=1)
        partial.append(blocks.any(dim=3).any(dim=1) & ~everything)
        full.append(everything)
    partial_count, partial_index = _compress(torch.stack(partial, dim=1))
    full_count, full_index = _compress(torch.stack(full, dim=1))
    return BlockMask.from_kv_blocks(
        partial_count,
        partial_index,
        full_count,
        full_index,
        BLOCK_SIZE=block_size,
        mask_mod=predicate(rule, queries, keys),
        seq_lengths=(queries.length, keys.length),
    )


def _compress(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """[B, rows, columns] bool to counts [B, 1, rows] and column indices, those that are set first, int32."""
    index = torch.argsort(blocks.to(torch.int8), dim=-1, descending=True, stable=True)
    return blocks.sum(dim=-1, dtype=torch.int32).unsqueeze(1), index.to(torch.int32).unsqueeze(1)
