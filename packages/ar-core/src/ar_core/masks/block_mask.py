"""Rendering a mask as FlexAttention's ``BlockMask`` without ever holding Q x K."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from ar_core.masks.axis import visible
from ar_core.masks.rule import Rule
from ar_core.masks.tokens import Tokens

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["render_block_mask"]


def render_block_mask(
    rule: Rule, queries: Tokens, keys: Tokens, predicate: Callable[..., Tensor], block_size: int
) -> "BlockMask":
    """Sort the blocks of the attention matrix into empty, partial and full, one row of blocks at a time.

    Args:
        rule: the rule.
        queries: Q tokens.
        keys: K tokens.
        predicate: the rule as ``mask_mod(b, h, q, kv)``; FlexAttention evaluates it inside partial blocks.
        block_size: rows and columns of a block.

    Returns:
        BlockMask of batch size B (1 if all ids are shared) and one head.
    """
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
        mask_mod=predicate,
        seq_lengths=(queries.length, keys.length),
    )


def _compress(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """[B, rows, columns] bool to counts [B, 1, rows] and column indices, those that are set first, int32."""
    index = torch.argsort(blocks.to(torch.int8), dim=-1, descending=True, stable=True)
    return blocks.sum(dim=-1, dtype=torch.int32).unsqueeze(1), index.to(torch.int32).unsqueeze(1)
