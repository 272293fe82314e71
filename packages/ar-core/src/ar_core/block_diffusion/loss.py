"""Cross-entropy of block diffusion on its targets alone.

Only hidden tokens are targets, so only the rows that predict them go through the output head: with a
vocabulary of 150k the head is a large part of a step. Their logits are made chunk by chunk, so that no [targets, V]
tensor is held.

Source: Fast-dLLM v2 (arXiv 2509.26328, section 3.2), Efficient-DLM (arXiv 2512.14067, equation 1); on selected rows alone:
ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from ar_kernels import selected_cross_entropy
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ar_core.block_diffusion.layout import CLEAN, BlockDiffusionLayout
from ar_core.linear_head import CALLED_LOGITS, LinearHead

__all__ = ["Targets", "next_token_targets", "select_targets", "summed_cross_entropy"]


@dataclass(frozen=True)
class Targets:
    """What the loss is taken over: N rows of the flattened hidden states and the token each must predict."""

    rows: Tensor
    """int64 [N], indices into [batch * T]."""
    labels: Tensor
    """int64 [N], in [0, V)."""
    weights: Tensor | None = None
    """Float [N], what each target's cross-entropy is multiplied by; None: 1."""

    def __len__(self) -> int:
        return len(self.rows)


def select_targets(
    layout: BlockDiffusionLayout,
    hidden: Sequence[Tensor],
    labels: Tensor,
    *,
    shift: bool = True,
    block_first: Literal["noised", "clean"] = "noised",
    weights: Sequence[Tensor] | None = None,
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
        weights: one float [B, L] per view, of a token that is a target there; targets of the clean stream weigh 1. None:
            no weights.

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
    rows, wanted, weighing = [], [], []
    for stream, chosen in masks:
        batch, index = chosen.nonzero(as_tuple=True)
        rows.append(layout.rows(stream, batch, index - int(shift), num_rows=len(labels)))
        wanted.append(labels[batch, index])
        if weights is not None:
            weighing.append(weights[0].new_ones(len(batch)) if stream == CLEAN else weights[stream - 1][batch, index])
    return Targets(torch.cat(rows), torch.cat(wanted), torch.cat(weighing) if weighing else None)


def next_token_targets(layout: BlockDiffusionLayout, labels: Tensor) -> Targets:
    """The targets of autoregressive training: row i-1 of the clean stream predicts token i.

    Args:
        layout: where the streams lie; the clean one must be there, and causal over tokens.
        labels: int64 [B, L], negative (-100) where unsupervised.

    Returns:
        Supervised tokens that have a predecessor (not `layout.starts`), row by row.
    """
    batch, index = ((labels >= 0) & ~layout.starts).nonzero(as_tuple=True)
    return Targets(layout.rows(CLEAN, batch, index - 1, num_rows=len(labels)), labels[batch, index])


def summed_cross_entropy(
    hidden: Tensor,
    targets: Targets,
    head: Callable[[Tensor], Tensor],
    *,
    vocab_size: int,
    max_logits: int | None = None,
) -> Tensor:
    """Sum over targets of -log p(label), each times its weight, in float32 or better.

    Args:
        hidden: [batch, T, C], any float dtype.
        targets: rows, labels and weights.
        head: maps [n, C] to logits [n, V]; a :class:`ar_core.linear_head.LinearHead` runs once, chunk by chunk, and its
            gradients are made with the loss.
        vocab_size: V.
        max_logits: most logits held at once; None: as many as are fast on the device, or 2^26 if the head is no matrix. More
            targets than fit are taken in chunks; if the head is no matrix, their logits are recomputed in the backward pass,
            at the price of one more head forward.

    Returns:
        Scalar, float32 (float64 for float64 logits). Zero, and still part of the graph, without targets.
    """
    if isinstance(head, LinearHead):
        return selected_cross_entropy(
            *head.operands(hidden.flatten(0, 1)),
            targets.rows,
            targets.labels,
            targets.weights,
            scale=head.scale,
            cap=head.cap,
            max_logits=max_logits,
        )
    # Gathered once: a gather per chunk would make a gradient of the full hidden states per chunk.
    predicting = hidden.flatten(0, 1)[targets.rows]

    def chunk_loss(rows: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        logits = head(rows)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if weights is None:
            return F.cross_entropy(logits, labels, reduction="sum")
        return (F.cross_entropy(logits, labels, reduction="none") * weights).sum()

    size = max(1, (CALLED_LOGITS if max_logits is None else max_logits) // vocab_size)
    if len(targets) <= size:
        return chunk_loss(predicting, targets.labels, targets.weights)
    chunks = predicting.split(size)
    weights = [None] * len(chunks) if targets.weights is None else targets.weights.split(size)
    sums = [
        checkpoint(chunk_loss, *chunk, use_reentrant=False)
        for chunk in zip(chunks, targets.labels.split(size), weights, strict=True)
    ]
    return torch.stack(sums).sum()
