"""Which noise and label a pair has, and what its teacher makes of them.

Source: Distilled Decoding (arXiv 2412.17153): pairs of noise and codes of the teacher.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from ar_core.corruption import SampleRng
from torch import Tensor

from ..flow.config import FlowSolver
from ..flow_pick import FlowPick
from ..noise import noise_of
from ..teacher import Teacher

__all__ = ["draw_pairs", "label_and_seed"]


def label_and_seed(rng: SampleRng, number: int, conditions: int) -> tuple[int, int]:
    """Return the condition of a pair, uniform over all, and the seed of its noise, both functions of (seed, number) alone."""
    return rng.key(number, "label") % conditions, rng.key(number, "noise")


@torch.no_grad()
def draw_pairs(
    teacher: Teacher, labels: Sequence[int], seeds: Sequence[int], solver: FlowSolver, *, checked: int = 0
) -> tuple[Tensor, Counter[str]]:
    """Return the codes int64 [B, n] that the teacher makes of labels and noise, and what was counted.

    An image depends on its own label and noise alone.

    Args:
        teacher: with its settings.
        labels: B conditions.
        seeds: of the noise.
        solver: of the flow.
        checked: draws of each unit that are solved twice.
    """
    codebook = teacher.codebook
    noise = noise_of(seeds, teacher.units.total, codebook.shape[1]).to(codebook.device)
    pick = FlowPick(noise, teacher.units, teacher.sampler, codebook, solver, checked=checked)
    return teacher.draw(labels, pick)[0], pick.counts
