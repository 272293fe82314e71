"""Confidence of a prediction from its logits, in one pass over the vocabulary.

Parallel decoders ask the same four numbers of every position in every pass: which token, how probable, how spread
out the rest is, and how far ahead of the runner-up. `reference` states the mathematics in float32 torch; the Triton
kernel in `ar_kernels.confidence_triton` reads each logit once instead of materialising a softmax.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Confidence", "confidence", "reference"]


class Confidence(NamedTuple):
    """Four numbers for each of R rows of logits.

    Attributes:
        token: int64 [R], the most probable token that is not banned; the lowest id among ties.
        probability: float32 [R] in (0, 1], its softmax probability.
        entropy: float32 [R] in nats, of the distribution after temperature and banning.
        margin: float32 [R] in [0, 1], its probability minus the runner-up's; 1 where all other ids are banned.
    """

    token: Tensor
    probability: Tensor
    entropy: Tensor
    margin: Tensor


def confidence(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    banned_ids: Sequence[int] = (),
    implementation: Literal["auto", "reference", "triton"] = "auto",
) -> Confidence:
    """Most probable token of each row, with its probability, entropy and margin.

    Args:
        logits: [R, V], any floating dtype; statistics are computed in float32.
        temperature: positive divisor of the logits.
        banned_ids: ids that take probability 0 and are never returned.
        implementation: "auto" takes Triton on CUDA tensors and the reference elsewhere.

    Returns:
        `Confidence`, float32 and int64 on the device of `logits`.

    Raises:
        ValueError: logits are not [R, V], the temperature is not positive, or every id is banned.

    Example:
        >>> confidence(torch.tensor([[0.0, 2.0, 1.0]])).token
        tensor([1])
    """
    if logits.ndim != 2:
        raise ValueError(
            f"confidence takes logits of shape [R, V], got {tuple(logits.shape)}: flatten the leading axes"
        )
    if temperature <= 0:
        raise ValueError(f"confidence takes a positive temperature, got {temperature}: for greedy decoding use 1")
    vocabulary = logits.shape[1]
    outside = [i for i in banned_ids if not 0 <= i < vocabulary]
    if outside:
        raise ValueError(f"banned id {outside[0]} is outside of the vocabulary 0..{vocabulary - 1}: remove it")
    if len(set(banned_ids)) >= vocabulary:
        raise ValueError(f"all {vocabulary} ids are banned: leave at least one to choose from")
    if implementation == "triton" or (implementation == "auto" and logits.is_cuda):
        from ar_kernels.confidence_triton import launch

        return Confidence(*launch(logits, temperature, banned_ids))
    return reference(logits, temperature=temperature, banned_ids=banned_ids)


def reference(logits: Tensor, *, temperature: float = 1.0, banned_ids: Sequence[int] = ()) -> Confidence:
    """Float32 torch definition of `confidence`; same arguments, shapes and results.

    With z = logits / temperature and p = softmax(z): entropy = -sum(p log p).
    """
    z = logits.float() / temperature
    if banned_ids:
        z = z.index_fill(1, torch.tensor(list(banned_ids), device=z.device), -torch.inf)
    p = z.softmax(dim=1)
    top = p.topk(min(2, p.shape[1]), dim=1).values
    runner_up = top[:, 1] if top.shape[1] == 2 else torch.zeros_like(top[:, 0])
    return Confidence(z.argmax(dim=1), top[:, 0], torch.special.entr(p).sum(dim=1), top[:, 0] - runner_up)
