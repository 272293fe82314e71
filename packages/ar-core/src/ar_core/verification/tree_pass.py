"""One pass over the trees of every row, through the windowed cache.

Source: tree attention of SpecInfer (arXiv 2305.09781).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone
from ar_core.masks import Mask, Tokens, tree, tree_intervals
from ar_core.verification.draft import Draft

__all__ = ["tree_pass"]

_TREE = tree()


def tree_pass(backbone: Backbone, cache: WindowedKVCache, newest: Sequence[int], drafts: Sequence[Draft]) -> Tensor:
    """Run the model over each row's newest committed token and its draft; every token sees its ancestors alone.

    A token's position is that of its depth, so that the accepted branch is in the cache what a causal pass would have
    written. Shorter rows are filled up with tokens that none of the others sees. The caller decides with
    ``cache.keep_path`` what stays; index 0 of the window is the newest token, index i + 1 token i of the draft.

    Args:
        backbone: the model.
        cache: its cache; row b continues at its committed length.
        newest: the committed id of each of the B rows that is not yet in the cache.
        drafts: one for each row, chains or trees.

    Returns:
        Hidden states [B, n, C], n = 1 + the longest draft; those of filling mean nothing.
    """
    width = 1 + max(map(len, drafts))
    cache.window(width)
    rows, intervals = [], []
    for token, draft in zip(newest, drafts, strict=True):
        filling = width - 1 - len(draft)
        depths = draft.depths()
        parents = range(-1, len(draft) - 1) if draft.parents is None else draft.parents
        rows.append([[token, *draft.tokens, *[token] * filling], [0, *depths, *[0] * filling]])
        intervals.append(torch.stack(tree_intervals([-1, *(parent + 1 for parent in parents), *[-1] * filling])))
    # One transfer for all that the pass reads.
    ids, depth, enter, leave = (
        torch.cat([torch.tensor(rows), torch.stack(intervals)], 1).transpose(0, 1).to(backbone.device).unbind(0)
    )
    first = cache.query_positions(1)
    positions = first + depth

    slots = torch.arange(cache.span, device=backbone.device)
    offsets = slots - first
    inside = (offsets >= 0) & (offsets < width)
    node = offsets.clamp(0, width - 1)
    # Committed tokens are everyone's ancestors; slots behind a row's window are no one's.
    before, nobody = offsets < 0, width + 1
    keys = Tokens(
        position=torch.where(inside, positions.gather(1, node), slots),
        enter=torch.where(inside, enter.gather(1, node), torch.where(before, 0, nobody)),
        exit=torch.where(inside, leave.gather(1, node), nobody),
    )
    mask = Mask(_TREE, Tokens(position=positions, enter=enter), keys)
    return backbone.hidden(ids, positions=positions, mask=mask, cache=cache)
