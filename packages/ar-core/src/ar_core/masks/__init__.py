"""Attention masks as rules over per-token ids.

A rule is a small predicate over ids (position, document, block, stream, ...); rules combine with ``&``, ``|``, ``~``.
A :class:`Mask` binds a rule to the ids of queries and keys and renders it as a dense bool tensor, as FlexAttention's
predicate or ``BlockMask``, or as segments.
"""

from ar_core.masks.bidirectional import bidirectional
from ar_core.masks.block_causal import block_causal
from ar_core.masks.block_diffusion import block_diffusion
from ar_core.masks.causal import causal
from ar_core.masks.document import document
from ar_core.masks.mask import Mask
from ar_core.masks.noise_aware_causal import noise_aware_causal
from ar_core.masks.padding import padding
from ar_core.masks.prefix import prefix
from ar_core.masks.rule import Ids, Rule
from ar_core.masks.scale_causal import scale_causal
from ar_core.masks.scale_strict_plus_self import scale_strict_plus_self
from ar_core.masks.segments import Segment
from ar_core.masks.sliding_window import sliding_window
from ar_core.masks.tokens import Tokens
from ar_core.masks.tree import tree, tree_intervals

__all__ = [
    "Ids",
    "Mask",
    "Rule",
    "Segment",
    "Tokens",
    "bidirectional",
    "block_causal",
    "block_diffusion",
    "causal",
    "document",
    "noise_aware_causal",
    "padding",
    "prefix",
    "scale_causal",
    "scale_strict_plus_self",
    "sliding_window",
    "tree",
    "tree_intervals",
]
