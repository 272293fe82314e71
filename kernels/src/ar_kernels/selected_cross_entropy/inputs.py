"""Checks and settings that the variants of the op share."""

import torch
from torch import Tensor

__all__ = ["check", "check_head", "check_ids", "check_labels", "factors", "gathered"]


def check(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    weights: Tensor | None,
    scale: float,
    cap: float | None,
    max_logits: int | None,
) -> None:
    """Refuse what cannot be computed.

    Args:
        hidden: [T, C], floating.
        weight: [V, C], of the head, in the same dtype.
        rows: int64 [N].
        weights: [N], or None.
        scale: of the logits, not 0.
        cap: of the logits, positive, or None.
        max_logits: positive, or None.

    Raises:
        ValueError: in one sentence.
    """
    check_head(hidden, weight, scale, cap, max_logits)
    if rows.ndim != 1 or rows.dtype != torch.int64:
        raise ValueError(f"rows are {rows.dtype} {tuple(rows.shape)}: give int64 [N]")
    if weights is not None and weights.shape != rows.shape:
        raise ValueError(
            f"weights are {tuple(weights.shape)} and rows {tuple(rows.shape)}: give one weight for each row"
        )


def check_head(hidden: Tensor, weight: Tensor, scale: float, cap: float | None, max_logits: int | None) -> None:
    """Refuse hidden states, a head and settings of it that do not go together.

    Args:
        hidden: [T, C], floating.
        weight: [V, C], in the same dtype.
        scale: of the logits, not 0.
        cap: of the logits, positive, or None.
        max_logits: positive, or None.

    Raises:
        ValueError: in one sentence.
    """
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"hidden states are {tuple(hidden.shape)} and the head's weight {tuple(weight.shape)}: give [T, C] and [V, C]"
        )
    if hidden.dtype != weight.dtype or not hidden.dtype.is_floating_point:
        raise ValueError(f"hidden states are {hidden.dtype} and the head's weight {weight.dtype}: give one float dtype")
    if not scale:
        raise ValueError("scale is 0, which makes all logits equal: give the inverse of a temperature")
    if cap is not None and not cap > 0:
        raise ValueError(f"cap is {cap} and bounds a size: give a positive one, or None")
    if max_logits is not None and max_logits < 1:
        raise ValueError(f"max_logits is {max_logits}: give a positive number, or None")


def check_ids(ids: Tensor, count: int, what: str) -> None:
    """Refuse ids outside of 0 to count - 1, where looking at them does not wait for a device.

    Args:
        ids: int64, any shape.
        count: how many there are.
        what: they are, for the message.

    Raises:
        ValueError: in one sentence.
    """
    if ids.device.type == "cpu" and len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < count:
        raise ValueError(
            f"{what} lie between {int(ids.min())} and {int(ids.max())} and must lie between 0 and {count - 1}: drop the "
            "others"
        )


def check_labels(labels: Tensor, rows: Tensor, what: str = "labels") -> None:
    """Refuse labels, or teachers, that are not one id for each row.

    Args:
        labels: int64 [N].
        rows: int64 [N].
        what: they are, for the message.

    Raises:
        ValueError: in one sentence.
    """
    if labels.shape != rows.shape or labels.dtype != torch.int64:
        raise ValueError(
            f"{what} are {labels.dtype} {tuple(labels.shape)} and must be int64 {tuple(rows.shape)}, one for each row"
        )


def factors(weights: Tensor | None, rows: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """Weights of all rows.

    Args:
        weights: [N]; None: ones.
        rows: int64 [N].
        hidden: [T, C].
        weight: [V, C].

    Returns:
        [N], float32 or better, without a graph.
    """
    wide = torch.promote_types(torch.promote_types(hidden.dtype, weight.dtype), torch.float32)
    return hidden.new_ones(rows.shape, dtype=wide) if weights is None else weights.detach().to(wide)


def gathered(hidden: Tensor, rows: Tensor) -> Tensor:
    """Hidden states of rows.

    Args:
        hidden: [T, C].
        rows: int64 [N].

    Returns:
        [N, C].
    """
    return hidden.index_select(0, rows)
