"""Pseudo-trajectories from text, without any decoding: the bootstrap of Jacobi Forcing (arXiv 2512.14681)."""

from collections.abc import Iterator, Set

import torch
from ar_core.data import IGNORED, Sample
from torch import Generator, Tensor

from .trajectory import Trajectory

__all__ = ["answers", "corrupt"]


def corrupt(prompt: Tensor, text: Tensor, *, block_size: int, context: int, generator: Generator) -> Trajectory:
    """Make n + 1 states of every block: for c = n, ..., 0 its last c tokens are replaced by tokens drawn from what precedes it.

    Args:
        prompt: int64 [P], P >= 1.
        text: int64 [Tn], the continuation.
        block_size: n.
        context: how many tokens before the block are drawn from, uniformly and with replacement.
        generator: of the sample.
    """
    n = block_size
    known = torch.cat([prompt, text])
    # Row r keeps the first r tokens: c = n - r.
    noisy = torch.arange(n) >= torch.arange(n + 1)[:, None]
    states = []
    for start in range(len(prompt), len(known), n):
        before = known[max(0, start - context) : start]
        drawn = before[torch.randint(len(before), (n + 1, n), generator=generator)]
        states.append(torch.where(noisy, drawn, known[start : start + n]))
    return Trajectory(prompt, text.view(-1, n), tuple(states))


def answers(
    sample: Sample, *, block_size: int, stop_ids: Set[int], prompt_length: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Split a row of training text into prompts and whole blocks of continuation.

    The continuation is the last run of supervised tokens of each document; documents without a prompt before it give up
    their first tokens. What does not fill a block is dropped, unless it ends with a stop id, which then fills the
    rest of the block.

    Args:
        sample: a row of one or more documents.
        block_size: n.
        stop_ids: end-of-sequence ids.
        prompt_length: tokens of a document that are its prompt where all of it is supervised.

    Yields:
        prompt int64 [P] and continuation int64 [Tn].
    """
    boundaries = sample["document"].unique_consecutive(return_counts=True)[1].tolist()
    for ids, labels in zip(sample["ids"].split(boundaries), sample["labels"].split(boundaries), strict=True):
        supervised = (labels != IGNORED).long()
        if not supervised.any():
            continue
        stop = int(supervised.nonzero()[-1]) + 1
        gaps = (supervised[:stop] == 0).nonzero()
        start = int(gaps[-1]) + 1 if len(gaps) else prompt_length
        text = ids[start:stop]
        whole = len(text) // block_size * block_size
        if whole < len(text) and int(text[-1]) in stop_ids:
            whole += block_size
            text = torch.cat([text, text[-1:].expand(whole - len(text))])
        if whole and start:
            yield ids[:start], text[:whole]
