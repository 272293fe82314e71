"""The sequence behind a pass of a student: what was given stays, the rest comes off its two heads.

Source: Distilled Decoding (arXiv 2412.17153) and its published code.
"""

from collections.abc import Sequence

import torch
from ar_kernels import confidence_from_hidden, nearest_code
from torch import Generator, Tensor

from ..decoding.guidance import require_sound, sound
from ..decoding.image_sampler import ImageSampler
from .options import DistilledOptions
from .student import Student, StudentCondition

__all__ = ["nearest_codes", "read_off"]


def read_off(
    student: Student,
    hidden: Tensor,
    condition: StudentCondition,
    x: Tensor,
    codebook: Tensor,
    held: int,
    given: int,
    split: int,
    options: DistilledOptions,
    generators: Sequence[Generator],
) -> tuple[Tensor, Tensor]:
    """Return the sequence behind a pass, [B, n, Cv], and its codes, int64 [B, n].

    What was given comes back bit by bit.

    Args:
        student: whose heads.
        hidden: states of the tokens from number ``held`` on, [B, n - held, C].
        condition: of the images.
        x: the sequence before, [B, n, Cv].
        codebook: [V, Cv].
        held: tokens that the cache held.
        given: tokens that were clean.
        split: tokens that are read off the logits.
        options: how.
        generators: of samples.

    Raises:
        NumericsError: what a head gives is not numbers.
    """
    parts, codes = [x[:, :given]], [nearest_codes(x[:, :given], codebook)]
    if split > given:
        chosen = _chosen(student, hidden[:, given - held : split - held], condition, options, generators)
        parts.append(codebook[chosen].to(x.dtype))
        codes.append(chosen)
    first = max(split, given)
    if first < x.shape[1]:
        vectors = student.continuous(hidden[:, first - held :], condition).to(x.dtype)
        require_sound(vectors.isfinite().all())
        nearest = nearest_codes(vectors, codebook)
        parts.append(codebook[nearest].to(x.dtype) if options.snap_outputs else vectors)
        codes.append(nearest)
    return torch.cat(parts, dim=1), torch.cat(codes, dim=1)


def _chosen(
    student: Student,
    hidden: Tensor,
    condition: StudentCondition,
    options: DistilledOptions,
    generators: Sequence[Generator],
) -> Tensor:
    if options.choice == "sample":
        logits = student.logits(hidden, condition)
        require_sound(sound(logits))
        return ImageSampler().pick(logits, generators)
    with student.head_autocast(hidden):
        states, head = student.matrix_head(hidden, condition)
        found = confidence_from_hidden(*head.operands(states.flatten(0, 1)))
    require_sound(found.probability.isfinite().all())
    return found.token.view(hidden.shape[:2])


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the nearest codes, int64 [B, m], of vectors [B, m, Cv] in a codebook [V, Cv]."""
    return nearest_code(vectors.flatten(0, 1), codebook.to(vectors.dtype)).view(vectors.shape[:2])
