"""A mask: one rule over the ids of queries and keys, rendered as whatever a backend reads.

Source: ours.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ar_core.errors import MaskError
from ar_core.masks.axis import predicate, visible
from ar_core.masks.bidirectional import bidirectional
from ar_core.masks.block_mask import block_mask
from ar_core.masks.rule import Rule
from ar_core.masks.segments import Segment, render_segments
from ar_core.masks.tokens import Tokens

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["Mask"]

_EVERYTHING = bidirectional()


class Mask:
    """Who may attend to whom: ``rule`` over Q query tokens and K key tokens.

    Queries and keys differ when a pass runs against a KV cache: keys are the cache slots, queries the window.
    Renderings are computed when first asked for and kept: build a mask once per pass and hand it to all layers.
    It travels through Hugging Face models as ``attention_mask``, hence ``ndim`` and ``shape``.

    Args:
        rule: the rule.
        queries: Q tokens with the ids that the rule reads of queries.
        keys: K tokens with the ids that the rule reads of keys.

    Raises:
        MaskError: an id is missing, or queries and keys disagree in batch size or device.
    """

    ndim = 4

    def __init__(self, rule: Rule, queries: Tokens, keys: Tokens) -> None:
        for side, needed, tokens in (("queries", rule.queries, queries), ("keys", rule.keys, keys)):
            if missing := needed - tokens.names:
                raise MaskError(
                    f"The rule {rule!r} needs the ids {', '.join(sorted(missing))} of the {side}, which have only "
                    f"{', '.join(sorted(tokens.names))}; add them with with_ids."
                )
        if None not in (queries.batch, keys.batch) and queries.batch != keys.batch:
            raise MaskError(
                f"Queries have batch size {queries.batch} and keys {keys.batch}; "
                "give both the same batch size, or ids shared by the batch."
            )
        if queries.device != keys.device:
            raise MaskError(f"Queries are on {queries.device} and keys on {keys.device}; move both to one device.")
        self.rule, self.queries, self.keys = rule, queries, keys
        self._dense: Tensor | None = None
        self._block_masks: dict[int, BlockMask] = {}
        self._segments: dict[tuple[int, int], tuple[Segment, ...]] = {}
        self._narrowed: dict[Rule, Mask] = {}

    @classmethod
    def self_attention(cls, rule: Rule, tokens: Tokens) -> "Mask":
        """A mask of a sequence over itself."""
        return cls(rule, tokens, tokens)

    @property
    def batch(self) -> int | None:
        """Batch size B if any id is per row, else None: one mask serves all rows."""
        return self.queries.batch if self.queries.batch is not None else self.keys.batch

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B or 1, 1, Q, K)."""
        return (self.batch or 1, 1, self.queries.length, self.keys.length)

    @property
    def device(self) -> torch.device:
        """Where the ids are."""
        return self.queries.device

    @property
    def is_full(self) -> bool:
        """True if the rule is known, without looking at ids, to hide nothing."""
        return self.rule == _EVERYTHING

    def __repr__(self) -> str:
        return f"Mask({self.rule!r}, shape={self.shape})"

    def to(self, device: torch.device | str) -> "Mask":
        """This mask on another device."""
        keys = self.keys.to(device)
        return Mask(self.rule, keys if self.queries is self.keys else self.queries.to(device), keys)

    def also(self, rule: Rule) -> "Mask":
        """This mask narrowed by another rule over the same tokens; kept, so that layers share its renderings."""
        if rule not in self._narrowed:
            self._narrowed[rule] = Mask(self.rule & rule, self.queries, self.keys)
        return self._narrowed[rule]

    def dense(self) -> Tensor:
        """Bool [B or 1, 1, Q, K], True where the query may attend. A few elementwise ops, no host sync; kept."""
        if self._dense is None:
            self._dense = visible(self.rule, self.queries, self.keys).view(self.shape)
        return self._dense

    def predicate(self) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """The mask as FlexAttention's ``mask_mod(b, h, q_idx, kv_idx)``: scalar index tensors in, scalar bool out."""
        return predicate(self.rule, self.queries, self.keys)

    def block_mask(self, block_size: int = 128) -> "BlockMask":
        """The mask as FlexAttention's ``BlockMask``, batch size B or 1, one head; kept per block size.

        Masks of one rule over equal ids that are shared by the batch have one between them, whenever they were made.
        """
        if block_size not in self._block_masks:
            self._block_masks[block_size] = block_mask(self.rule, self.queries, self.keys, block_size)
        return self._block_masks[block_size]

    def segments(self, rows: int = 128, batch: int = 0) -> tuple[Segment, ...]:
        """The mask of one row of the batch as segments that cover all queries in order; kept.

        Chunks hold at most ``rows`` queries and are cut where stream, document or scale change. No tensor of Q x K
        elements is made. Reads ids on the host.

        Args:
            rows: largest number of queries in a chunk.
            batch: row of the batch; without effect while ids are shared by the batch.
        """
        key = (rows, batch if self.batch is not None else 0)
        if key not in self._segments:
            self._segments[key] = render_segments(self.rule, self.queries.row(batch), self.keys.row(batch), rows)
        return self._segments[key]

    def has_segments(self, rows: int = 128) -> bool:
        """True if :meth:`segments` has been rendered for every row of the batch with this chunk size."""
        return all((rows, row) in self._segments for row in range(self.batch or 1))
