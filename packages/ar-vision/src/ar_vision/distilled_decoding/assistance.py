"""Passes of the teacher between two of its student.

Source: Distilled Decoding (arXiv 2412.17153): sampling with the teacher in between; its published code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.decoding import DecodeStats
from torch import Generator, Tensor

from .flow_pick import FlowPick
from .noise import noise_of
from .options import DistilledOptions
from .reading import nearest_codes
from .teacher import Teacher

__all__ = ["Assisted", "drawn_again"]


@dataclass(frozen=True)
class Assisted:
    """A teacher with the conditions of the images that it helps with, and the seeds of its draws."""

    teacher: Teacher
    """Whose passes they are."""
    conditions: Sequence[int]
    """Number of the class, or of the text, of each image."""
    seeds: Sequence[int]
    """Of the draws of each image."""


def drawn_again(
    x: Tensor, codebook: Tensor, options: DistilledOptions, assisted: Assisted, stop: int
) -> tuple[Tensor, DecodeStats]:
    """Let the teacher draw the units from ``teacher_start`` on to ``stop``, behind the codes that the student gave for those before.

    Args:
        x: the student's sequence, [B, n, Cv]; anything where the teacher begins with the first unit.
        codebook: [V, Cv].
        options: where it starts, and how it draws.
        assisted: teacher, conditions, seeds.
        stop: unit before which it ends.

    Returns:
        The sequence [B, n, Cv] with code vectors up to ``stop``, and the teacher's passes.
    """
    assert options.teacher_start is not None
    teacher = assisted.teacher
    kept = teacher.units.tokens(options.teacher_start)
    given = nearest_codes(x[:, :kept], codebook) if kept else None
    pick: Any
    if options.teacher_draw == "flow":
        noise = noise_of(assisted.seeds, teacher.units.total, codebook.shape[1]).to(x.device)
        pick = FlowPick(noise, teacher.units, teacher.sampler, codebook, options.solver)
    else:

        def pick(unit: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
            return teacher.sampler.pick(logits, generators)

    codes, passes = teacher.draw(assisted.conditions, pick, given=given, stop=stop, seed=list(assisted.seeds))
    return torch.cat([codebook[codes].to(x.dtype), x[:, teacher.units.tokens(stop) :]], dim=1), passes
