"""Images from noise in one pass of a student, in a few, or with some passes of its teacher in between.

B images, P condition positions, n tokens, Cv code dimension, V codes. A unit is a scale of VAR or a code of LlamaGen.

Source: Distilled Decoding (arXiv 2412.17153), section 3, and its published code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError
from ar_core.sampling import row_generators, row_seed
from torch import Generator, Tensor

from ..checkpoint import require_codes
from ..decoding.generated import GeneratedImages, OnScale
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from .assistance import Assisted, drawn_again
from .conditions import checked_conditions, condition_of
from .noise import noise_of
from .options import DistilledOptions
from .reading import read_off
from .sequence import features_of
from .student import Student, StudentCondition, perturbed
from .teacher import Teacher, code_vectors

__all__ = ["Sequences", "draw_sequences", "generate"]


@dataclass(frozen=True)
class Sequences:
    """What was drawn.

    Attributes:
        vectors: [B, n, Cv], float32 or better; what is decoded.
        codes: int64 [B, n]; of what the continuous head gave, the nearest.
        stats: phase "student", one forward a pass, and those of the teacher.
    """

    vectors: Tensor
    codes: Tensor
    stats: DecodeStats


@torch.no_grad()
def draw_sequences(
    student: Student,
    condition: StudentCondition,
    noise: Tensor,
    codebook: Tensor,
    options: DistilledOptions,
    *,
    generators: Sequence[Generator] = (),
    assisted: Assisted | None = None,
) -> Sequences:
    """Draw all tokens from noise.

    Every pass restores the original noise behind the units that it takes over. Keys and values of the condition, and of units that
    were clean in an earlier pass, stay in the cache: nothing that comes later reaches them.

    Args:
        student: in eval mode.
        condition: of B images.
        noise: [B, n, Cv], on its device.
        codebook: [V, Cv], as the tokenizer uses its rows.
        options: passes, split.
        generators: one an image, where codes are sampled.
        assisted: teacher and conditions, where ``teacher_start`` is set.

    Raises:
        ConfigError: timesteps or split do not fit the student, or a teacher is needed and not given, or given and not used.
        NumericsError: the logits are not numbers.
    """
    units, prefix = student.units, student.prefix
    timesteps, split = _checked(student, options, assisted)
    codebook = codebook.to(torch.promote_types(codebook.dtype, torch.float32))
    x, stats, start = noise, DecodeStats(), options.teacher_start
    several = len(timesteps) - (start == 0) > 1
    cache = student.new_cache(len(noise), prefix + units.total) if several else None
    known = 0
    for number, step in enumerate(timesteps):
        following = timesteps[number + 1] if number + 1 < len(timesteps) else units.count
        if start is not None and number:
            assert assisted is not None
            x, passes = drawn_again(x, codebook, options, assisted, step)
            stats = stats + passes
        if start == 0 and not number:
            continue
        given = units.tokens(step)
        clean = (torch.arange(units.total, device=noise.device) < given).expand(len(noise), -1)
        width = prefix + units.total - known
        with stats.forward("student", len(noise), width):
            if cache is not None:
                cache.window(width)
            hidden = student.hidden(perturbed(x, noise, clean), clean, condition, known=known, cache=cache)
            held, stays = max(known - prefix, 0), prefix + given
            if cache is not None:
                cache.keep(stays - known)
                known = stays
            x, codes = read_off(student, hidden, condition, x, codebook, held, given, split, options, generators)
        fixed = start if start is not None and not number else following
        for _ in range(len(noise)):
            stats.accept(units.tokens(fixed) - given)
    stats.generated = [units.total] * len(noise)
    return Sequences(x, codes, stats)


@torch.no_grad()
def generate(
    student: Any,
    tokenizer: CodebookTokenizer,
    labels: Tensor | Sequence[int],
    options: DistilledOptions | None = None,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
    teacher: Teacher | None = None,
    texts: Sequence[Tensor] | None = None,
) -> GeneratedImages:
    """Generate one image for each label.

    Args:
        student: in eval mode.
        tokenizer: the one that its teacher was trained with, on the same device.
        labels: B classes, or numbers of texts, int64 [B]; none cannot be asked for.
        options: passes, split.
        seed: one number, or one for each image; the noise of an image depends on its own alone.
        on_scale: called with the features after each scale of a VAR student.
        teacher: where ``teacher_start`` is set; of the same texts.
        texts: features [m, width] of each text, for a student of texts.

    Raises:
        DataError: a label is no class, or no text.
        CheckpointError: the tokenizer has other codes.
        ConfigError: as `draw_sequences` does; scales of a LlamaGen were asked for.
    """
    options = DistilledOptions() if options is None else options
    if on_scale is not None and student.schedule.count == 1:
        raise ConfigError("a llamagen_dd draws all codes at once and has no scales to show: leave out scales")
    require_codes(student, tokenizer)
    checked = checked_conditions(labels, student, texts)
    seeds = [row_seed(seed, row) for row in range(len(checked))] if isinstance(seed, int) else list(seed)
    noise = noise_of(seeds, student.units.total, student.config.code_dim).to(student.device)
    drawn = draw_sequences(
        student,
        condition_of(student, checked, texts),
        noise,
        code_vectors(tokenizer),
        options,
        generators=row_generators(seeds, len(seeds)) if options.choice == "sample" else (),
        assisted=None if teacher is None else Assisted(teacher, checked.tolist(), seeds),
    )
    with drawn.stats.timed("pixels"):
        features = features_of(tokenizer, drawn.vectors, student.schedule, on_scale)
        images = tokenizer.decode(features).float().clamp(-1, 1)
    return GeneratedImages(images, list(student.schedule.split(drawn.codes)), drawn.stats)


def _checked(student: Student, options: DistilledOptions, assisted: Assisted | None) -> tuple[tuple[int, ...], int]:
    """Timesteps, and the tokens that are read off the logits."""
    timesteps = options.timesteps or (0,)
    if timesteps[-1] >= student.units.count:
        raise ConfigError(
            f"timesteps are {list(timesteps)} and the student has {student.units.count} units: give numbers below it"
        )
    if (options.teacher_start is not None) != (assisted is not None):
        raise ConfigError(
            "teacher_start is set and no teacher was given: give one"
            if assisted is None
            else "a teacher was given and teacher_start is not set, so that it would draw nothing: set it, or leave the teacher out"
        )
    if assisted is not None and assisted.teacher.units.lengths != student.units.lengths:
        raise ConfigError("the teacher has other units than the student: give the teacher that it was distilled from")
    split = student.config.split if options.split is None else options.split
    return timesteps, student.units.tokens(student.units.require("split", split))
