"""Ops on an output head: cross-entropy of selected rows, and confidence."""

from functools import partial

import torch
import torch.nn.functional as F
from ar_kernels import confidence, confidence_from_hidden, selected_cross_entropy, sequence_logprob
from ar_kernels.confidence.reference import reference
from ar_kernels.selected_cross_entropy.chunks import default_logits
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .case import Case

__all__ = ["confidence_case", "confidence_from_hidden_case", "cross_entropy_case", "sequence_logprob_case"]

Head = tuple[int, int]
"""(C, V)."""


def cross_entropy_case(
    head: Head, count: int, device: str, dtype: torch.dtype, *, max_logits: int | None = None
) -> Case:
    """Loss and gradients of some rows: all logits at once, chunks that are made twice, ours.

    Args:
        head: its sizes.
        count: N.
        device: where.
        dtype: of hidden states and head.
        max_logits: of a chunk, of both that have them; None: ours.
    """
    width, vocabulary = head
    hidden, weight = _operands(count, head, device, dtype)
    index = torch.arange(count, device=device)
    labels = torch.randint(vocabulary, (count,), generator=torch.Generator().manual_seed(1)).to(device)

    def gradients(loss: Tensor) -> tuple[Tensor, ...]:
        return (loss.detach(), *torch.autograd.grad(loss, (hidden, weight)))

    def loss_of(part: Tensor, own: Tensor) -> Tensor:
        return F.cross_entropy((part @ weight.T).float(), own, reduction="sum")

    def twice() -> tuple[Tensor, ...]:
        size = max(1, (max_logits or default_logits(hidden.device)) // vocabulary)
        parts = zip(hidden.split(size), labels.split(size), strict=True)
        return gradients(torch.stack([checkpoint(loss_of, *part, use_reentrant=False) for part in parts]).sum())

    compiled = torch.compile(loss_of)
    element = torch.finfo(dtype).bits // 8
    return Case(
        op="selected_cross_entropy",
        size=f"{count} rows, C={width}, V={vocabulary}, {_name(dtype)}, with gradients",
        runs={
            "all logits": lambda: gradients(loss_of(hidden, labels)),
            "chunks made twice": twice,
            **(
                {"all logits, compiled": lambda: gradients(compiled(hidden, labels))}
                if device.startswith("cuda")
                else {}
            ),
            "ar_kernels": lambda: gradients(
                selected_cross_entropy(hidden, weight, index, labels, max_logits=max_logits)
            ),
        },
        ours="ar_kernels",
        most=1e-4 if dtype == torch.float32 else 2e-2,
        flops=3 * 2 * count * width * vocabulary,
        bytes=element * (2 * vocabulary * width + 2 * count * width),
    )


def sequence_logprob_case(
    head: Head, sequences: int, length: int, device: str, dtype: torch.dtype, *, max_logits: int | None = None
) -> Case:
    """Log-probabilities of sequences and gradients of a function of them: all logits at once, ours.

    Args:
        head: its sizes.
        sequences: B.
        length: L.
        device: where.
        dtype: of hidden states and head.
        max_logits: of a chunk of ours.
    """
    width, vocabulary = head
    flat, weight = _operands(sequences * length, head, device, dtype)
    hidden = flat.detach().view(sequences, length, width).requires_grad_()
    labels = torch.randint(vocabulary, (sequences, length), generator=torch.Generator().manual_seed(1)).to(device)

    def gradients(found: Tensor) -> tuple[Tensor, ...]:
        return (found.detach(), *torch.autograd.grad(F.logsigmoid(0.02 * found).sum(), (hidden, weight)))

    def whole() -> Tensor:
        log_p = (hidden @ weight.T).float().log_softmax(-1)
        return log_p.gather(-1, labels[..., None]).sum((1, 2))

    element = torch.finfo(dtype).bits // 8
    return Case(
        op="sequence_logprob",
        size=f"{sequences} x {length} positions, C={width}, V={vocabulary}, {_name(dtype)}, with gradients",
        runs={
            "all logits": lambda: gradients(whole()),
            "ar_kernels": lambda: gradients(sequence_logprob(hidden, weight, labels, max_logits=max_logits)),
        },
        ours="ar_kernels",
        most=1e-4 if dtype == torch.float32 else 2e-2,
        flops=3 * 2 * sequences * length * width * vocabulary,
        bytes=element * (2 * vocabulary * width + 2 * sequences * length * width),
    )


def confidence_case(head: Head, count: int, device: str, dtype: torch.dtype) -> Case:
    """Token, probability, entropy and margin from logits: by torch, by ours."""
    hidden, weight = (x.detach() for x in _operands(count, head, device, dtype))
    logits = hidden @ weight.T
    return Case(
        op="confidence",
        size=f"{count} rows, V={head[1]}, {_name(dtype)}",
        runs={"torch": partial(reference, logits), "ar_kernels": partial(confidence, logits)},
        ours="ar_kernels",
        most=1e-3,
        flops=0,
        bytes=torch.finfo(dtype).bits // 8 * count * head[1],
    )


def confidence_from_hidden_case(head: Head, count: int, device: str, dtype: torch.dtype) -> Case:
    """The same from hidden states: all logits and torch, all logits and ours, ours without logits."""
    width, vocabulary = head
    hidden, weight = (x.detach() for x in _operands(count, head, device, dtype))
    return Case(
        op="confidence_from_hidden",
        size=f"{count} rows, C={width}, V={vocabulary}, {_name(dtype)}",
        runs={
            "all logits, torch": lambda: reference(hidden @ weight.T),
            "all logits, ar_kernels": lambda: confidence(hidden @ weight.T),
            "ar_kernels": partial(confidence_from_hidden, hidden, weight),
        },
        ours="ar_kernels",
        most=1e-3 if dtype == torch.float32 else 5e-2,
        flops=2 * count * width * vocabulary,
        bytes=torch.finfo(dtype).bits // 8 * (vocabulary * width + count * width),
    )


def _operands(count: int, head: Head, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Hidden states [N, C] and a head [V, C] whose logits have one winner a row: bfloat16 does not draw another."""
    width, vocabulary = head
    generator = torch.Generator(device).manual_seed(0)
    weight = 3 * torch.randn(vocabulary, width, generator=generator, device=device) / width**0.5
    hidden = torch.randn(count, width, generator=generator, device=device)
    hidden += 2 * weight[torch.randint(vocabulary, (count,), generator=generator, device=device)]
    hidden, weight = (x.to(dtype).requires_grad_() for x in (hidden, weight))
    return hidden, weight


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
