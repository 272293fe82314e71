"""The packed training sequence of Jacobi Forcing (arXiv 2512.14681, section 3): all blocks of a sample in one pass."""

from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise

import torch
from ar_core.data import PADDING_DOCUMENT
from torch import Tensor

from .config import JacobiForcingConfig
from .trajectories.trajectory import Trajectory, first_errors

__all__ = ["Packed", "join", "pack"]

PROMPT_BLOCK = -1


@dataclass(frozen=True)
class Packed:
    """L = P + 2Tn tokens [prompt | noisy copies | clean copies] and what is learnt from them.

    Rows are places in the sequence: a model's hidden state there predicts the next token of the same copy.
    """

    ids: Tensor
    """int64 [L]."""
    stream: Tensor
    """int64 [L]: 1 in the noisy copies, 0 elsewhere."""
    block: Tensor
    """int64 [L]: the block, -1 in the prompt."""
    position: Tensor
    """int64 [L]: both copies of a block have the positions of the text."""
    rows: Tensor
    """int64 [A]: rows of the autoregressive loss."""
    labels: Tensor
    """int64 [A]: the token each must predict."""
    student: Tensor
    """int64 [M]: noisy rows of the consistency loss."""
    teacher: Tensor
    """int64 [M]: the clean row of the same block and offset."""
    blocks: int
    """T."""


def pack(
    trajectory: Trajectory, noisy: Tensor, config: JacobiForcingConfig, *, stop_ids: Set[int], pad_id: int
) -> Packed:
    """Lay out a sample.

    The published order [prompt | noisy 0 | clean 0 | noisy 1 | ...] is a permutation of ours: positions and mask carry the
    meaning.

    Args:
        trajectory: prompt and clean blocks; with `eos_policy: strict` already cut at its end (`Trajectory.ended`).
        noisy: int64 [T, n], the noisy copies.
        config: losses and their options.
        stop_ids: end-of-sequence ids.
        pad_id: id that fills the places behind the end.
    """
    prompt, clean = trajectory.prompt, trajectory.clean
    blocks, n = clean.shape
    total, start = blocks * n, len(prompt)
    end = trajectory.end(stop_ids)
    if config.eos_policy == "reference":
        clean = _padded_last(clean, stop_ids, pad_id)
    place = torch.arange(total)
    offset = place % n
    text, guess = clean.flatten(), noisy.flatten()

    # Which tokens of the text are targets: `learnt[f]` is about place f, and `learnt[total]` about what follows the text.
    if config.eos_policy == "strict":
        learnt = torch.arange(total + 1) <= (end if end is not None else total)
    else:
        open_before = ~_after_stop(clean, stop_ids).flatten()
        learnt = torch.cat([(open_before | (offset == 0)) & (text != pad_id), torch.tensor([True])])

    before_text = torch.cat([torch.tensor([start - 1]), start + total + place[:-1]])
    rows, labels = before_text[learnt[:-1]], text[learnt[:-1]]
    if config.train_prompt:
        known = prompt[1:] != pad_id if config.eos_policy == "reference" else torch.ones(start - 1, dtype=torch.bool)
        rows = torch.cat([torch.arange(start - 1)[known], rows])
        labels = torch.cat([prompt[1:][known], labels])

    diverged = offset >= first_errors(noisy, clean).repeat_interleave(n)
    if config.mask == "clean_context":
        diverged &= offset < n - 1
    kept = diverged & (guess != pad_id) if config.eos_policy == "reference" else diverged & learnt[1:]
    student = start + place[kept]

    return Packed(
        ids=torch.cat([prompt, guess, text]),
        stream=torch.cat([torch.zeros(start), torch.ones(total), torch.zeros(total)]).long(),
        block=torch.cat([torch.full((start,), PROMPT_BLOCK), place // n, place // n]),
        position=torch.cat([torch.arange(start), start + place, start + place]),
        rows=rows,
        labels=labels,
        student=student,
        teacher=student + total,
        blocks=blocks,
    )


def join(samples: list[Packed], pad_id: int) -> dict[str, Tensor]:
    """Put samples end to end into one row, as documents that do not see each other; nothing is padded.

    Returns:
        `ids`, `stream`, `block`, `position`, `document` [L]; `rows`, `labels` [A]; `student`, `teacher` [M]; all int64.
        Without samples: one token of padding, and nothing to learn.
    """
    lengths = [len(sample.ids) for sample in samples]
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    none = torch.zeros(0, dtype=torch.int64)
    if not samples:
        token = torch.zeros(1, dtype=torch.int64)
        filler = {"ids": token + pad_id, "document": token + PADDING_DOCUMENT}
        return {
            **dict.fromkeys(("stream", "block", "position"), token),
            **filler,
            **dict.fromkeys(("rows", "labels", "student", "teacher"), none),
        }
    joined = {
        name: torch.cat([getattr(sample, name) for sample in samples])
        for name in ("ids", "stream", "block", "position", "labels")
    }
    for name in ("rows", "student", "teacher"):
        joined[name] = torch.cat([getattr(sample, name) + at for sample, (at, _) in zip(samples, pairwise(starts))])
    joined["document"] = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(lengths))
    return joined


def _after_stop(clean: Tensor, stop_ids: Set[int]) -> Tensor:
    """Bool [T, n]: behind the first stop id of the same block."""
    stops = torch.isin(clean, torch.tensor(sorted(stop_ids), dtype=torch.int64)).long()
    return stops.cumsum(1) - stops > 0


def _padded_last(clean: Tensor, stop_ids: Set[int], pad_id: int) -> Tensor:
    padded = clean.clone()
    padded[-1] = padded[-1].masked_fill(_after_stop(clean[-1:], stop_ids)[0], pad_id)
    return padded
