"""Loss and gradients of a head, chunk by chunk, both in the forward pass.

The gradient of a cross-entropy needs no more than its own logits: d loss / d z = w (softmax(z) - target). So a chunk turns
its logits into their gradient where they lie, multiplies them into those of hidden states and head, and is forgotten. The
head is not run again in the backward pass, and one chunk is all that is held.

Source: ours; gradients in the forward pass as in Liger Kernel (arXiv 2410.10989).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Sums", "default_logits", "head_logits", "kept", "lift", "run"]

CPU_LOGITS = 2**23
"""32 MiB in float32: fewer rows make the products narrow, more leave the cache."""
GPU_LOGITS = 2**28
"""512 MiB in bfloat16. Each chunk reads and writes the gradient of the head once, 2 GB at V = 152,064 and C = 1,536."""

InPlace = Callable[[Tensor, slice, bool], tuple[Tensor, Tensor]]
"""Takes logits [n, V] of a slice of rows; returns what each row adds to the loss, and to the divergence, [n] each. If asked
to, it leaves d loss / d z in the logits' place."""


class Sums(NamedTuple):
    """What all rows add up to.

    Attributes:
        loss: scalar, float32 or better.
        divergence: scalar, likewise; 0 for hard targets.
        hidden: d loss / d hidden [N, C] of the selected rows, in the dtype `kept`; [0] if not wanted.
        weight: d loss / d weight [V, C], float32 or better, since thousands of rows add up in it; [0] if not wanted.
    """

    loss: Tensor
    divergence: Tensor
    hidden: Tensor
    weight: Tensor


def head_logits(hidden: Tensor, weight: Tensor, scale: float, cap: float | None, narrow: bool = False) -> Tensor:
    """Logits [n, V], a tensor of their own; see `reference.logits`.

    Args:
        hidden: [n, C].
        weight: [V, C].
        scale: of the logits.
        cap: of the logits.
        narrow: leave them in the dtype of the head, as it rounds them, where nothing is to be done with them; otherwise they
            are float32 or better.
    """
    z = hidden @ weight.T
    if narrow and scale == 1 and cap is None:
        return z
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    if scale != 1:
        z.mul_(scale)
    return z if cap is None else z.div_(cap).tanh_().mul_(cap)


def kept(dtype: torch.dtype) -> torch.dtype:
    """In what the gradient of hidden states of a dtype waits for that of the loss, which may be a scaler's large factor:
    float16 would lose by then what is below 6e-8."""
    return torch.float32 if dtype == torch.float16 else dtype


def lift(weights: Tensor, dtype: torch.dtype, scale: float) -> Tensor:
    """A power of two that the weights of rows are multiplied by, and all sums divided by again, so that slopes of logits, at
    most weight times scale, come near the upper end of float16; 1 for other dtypes, whose exponents reach far enough.

    Args:
        weights: [N], float32 or better.
        dtype: of the slopes.
        scale: of the logits.

    Returns:
        Scalar, in the dtype of the weights.
    """
    if dtype != torch.float16 or not len(weights):
        return weights.new_ones(())
    most = (weights.abs().amax() * abs(scale)).clamp(2.0**-60, 2.0**60)
    return torch.exp2(14 - most.log2().ceil())


def default_logits(device: torch.device) -> int:
    """How many logits a chunk has that is fast on a device."""
    return CPU_LOGITS if device.type == "cpu" else GPU_LOGITS


def run(
    hidden: Tensor,
    weight: Tensor,
    in_place: InPlace,
    *,
    raised: Tensor,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    narrow: bool,
    of_hidden: bool,
    of_weight: bool,
) -> Sums:
    """Go through the selected rows.

    Args:
        hidden: [N, C], of the rows.
        weight: [V, C].
        in_place: the loss, times `raised`.
        raised: scalar, what all sums are divided by at the end; see `lift`.
        scale: of the logits.
        cap: of the logits.
        max_logits: at most so many are held, though never less than one row's, and never more than is fast on the device.
        narrow: whether `in_place` takes logits in the dtype of the head.
        of_hidden: whether the gradient of the hidden states is wanted.
        of_weight: whether that of the head is.
    """
    wide = torch.promote_types(torch.promote_types(hidden.dtype, weight.dtype), torch.float32)
    most = default_logits(hidden.device)
    size = max(1, (most if max_logits is None else min(max_logits, most)) // weight.shape[0])
    wanted = of_hidden or of_weight
    loss, divergence = hidden.new_zeros((), dtype=wide), hidden.new_zeros((), dtype=wide)
    d_hidden = hidden.new_empty(hidden.shape if of_hidden else (0,), dtype=kept(hidden.dtype))
    d_weight = weight.new_zeros(weight.shape if of_weight else (0,), dtype=wide)
    for start in range(0, len(hidden), size):
        part = slice(start, min(start + size, len(hidden)))
        own = hidden[part]
        z = head_logits(own, weight, scale, cap, narrow)
        bend = (z / cap).square_().neg_().add_(1) if wanted and cap is not None else None
        added, apart = in_place(z, part, wanted)
        loss, divergence = loss + added.sum(), divergence + apart.sum()
        if not wanted:
            continue
        if bend is not None:
            z.mul_(bend)
        if scale != 1:
            z.mul_(scale)
        slope = z.to(weight.dtype)
        if of_hidden:
            d_hidden[part] = _product(slope, weight)
        if of_weight:
            _add_product(d_weight, slope.T, own)
    if hidden.dtype == torch.float16:
        loss, divergence = loss / raised, divergence / raised
        d_hidden.div_(raised)
        d_weight.div_(raised)
    return Sums(loss, divergence, d_hidden, d_weight)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """In the dtype `kept`, without a narrower one in between."""
    if left.dtype != torch.float16:
        return left @ right
    return torch.mm(left, right, out_dtype=torch.float32) if left.is_cuda else left.float() @ right.float()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product to a total that may be wider; on CUDA, and in float16, it is not rounded in between."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    elif total.is_cuda:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total += _product(left, right)
