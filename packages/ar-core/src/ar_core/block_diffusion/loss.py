"""Cross-entropy of block diffusion on its targets alone.

Only hidden tokens are targets, so only the rows that predict them go through the output head: with a
vocabulary of 150k the head is a large part of a step. Their logits are made chunk by chunk and made again in
the backward pass, so that no [targets, V] tensor is held.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ar_core.block_diffusion.layout import CLEAN, BlockDiffusionLayout

__all__ = ["Targets", "select_targets", "summed_cross_entropy"]


@dataclass(frozen=True)
class Targets:
    """What the loss is taken over: N rows of the flattened hidden states and the token each must predict."""

    rows: Tensor
    """int64 [N], indices into [batch * T]."""
    labels: Tensor
    """int64 [N], in [0, V)."""

    def __len__(self) -> int:
        return len(self.rows)


def select_targets(
    layout: BlockDiffusionLayout,
    hidden: Sequence[Tensor],
    labels: Tensor,
    *,
    shift: bool = True,
    block_first: Literal["noised", "clean"] = "noised",
) -> Targets:
    """Find the row that predicts each hidden token.

    Args:
        layout: where the streams lie.
        hidden: one bool [B, L] per view, the positions hidden in it; labels must be set there.
        labels: int64 [B, L], negative (-100) where unsupervised; not touched.
        shift: True: row i-1 of a view predicts token i (the AR convention, Fast-dLLM v2). False: row i does.
        block_first: with shift, which row i-1 predicts the first token of a block. `noised`: the view's,
            which sees block b-1 noised (published). `clean`: the clean stream's, which sees it clean, as the
            commit pass does at inference; such tokens are targets once, not once per view, hidden or not.

    Returns:
        Targets without those that have no predecessor (`layout.starts`, under shift), in the order view 1,
        view 2, clean; inside a stream row by row.
    """
    masks = [(view, chosen) for view, chosen in enumerate(hidden, start=1)]
    if shift:
        masks = [(view, chosen & ~layout.starts) for view, chosen in masks]
        if block_first == "clean":
            masks = [(view, chosen & ~layout.grid.firsts) for view, chosen in masks]
            masks.append((CLEAN, layout.grid.firsts & ~layout.starts & (labels >= 0)))
    rows, wanted = [], []
    for stream, chosen in masks:
        batch, index = chosen.nonzero(as_tuple=True)
        rows.append(layout.rows(stream, batch, index - int(shift), num_rows=len(labels)))
        wanted.append(labels[batch, index])
    return Targets(rows=torch.cat(rows), labels=torch.cat(wanted))


def summed_cross_entropy(
    hidden: Tensor,
    targets: Targets,
    head: Callable[[Tensor], Tensor],
    *,
    vocab_size: int,
    max_logits: int = 2**26,
) -> Tensor:
    """Sum over targets of -log p(label), in float32 or better.

    Args:
        hidden: [batch, T, C], any float dtype.
        targets: rows and labels.
        head: maps [n, C] to logits [n, V].
        vocab_size: V.
        max_logits: most logits held at once (2**26 are 256 MB in float32). More targets than fit are taken in
            chunks whose logits are recomputed in the backward pass, at the price of one more head forward.

    Returns:
        Scalar, float32 (float64 for float64 logits). Zero, and still part of the graph, without targets.
    """
    # Gathered once: a gather per chunk would make a gradient of the full hidden states per chunk.
    predicting = hidden.flatten(0, 1)[targets.rows]

    def chunk_loss(rows: Tensor, labels: Tensor) -> Tensor:
        logits = head(rows)
        return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction="sum")

    size = max(1, max_logits // vocab_size)
    if len(targets) <= size:
        return chunk_loss(predicting, targets.labels)
    sums = [
        checkpoint(chunk_loss, rows, labels, use_reentrant=False)
        for rows, labels in zip(predicting.split(size), targets.labels.split(size))
    ]
    return torch.stack(sums).sum()
