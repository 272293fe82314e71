"""What distillation is held against: a teacher's last units, or all of them, drawn in one pass as if they were independent.

B images, n tokens, V codes.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError
from ar_core.sampling import row_generators
from torch import Generator, Tensor

from ..backbones.class_labels import checked_labels
from ..backbones.llamagen.decode import class_condition
from ..backbones.llamagen.model import LlamaGen
from ..backbones.var.decode import guidance_of
from ..backbones.var.model import Var
from ..decoding.guidance import guided_logits, guided_passes
from ..decoding.raster import interval_guidance
from ..decoding.raster_mask import raster_mask
from ..tokenizers.tokenizer import Tokenizer
from .teacher import LlamaGenTeacher, Teacher, VarTeacher

__all__ = ["draw_at_once"]


@torch.no_grad()
def draw_at_once(
    teacher: Teacher, labels: Sequence[int], *, first: int = 0, seed: int | Sequence[int] = 0
) -> tuple[Tensor, DecodeStats]:
    """Draw the first units one by one, and all others in a single pass, each code from its own law.

    The single pass has no codes to be fed with. VAR's scales are fed with the features of what is known by then, nothing being zero;
    LlamaGen's codes with the mean of all code embeddings. No model was trained for that: it is what skipping passes costs, and
    the paper's baselines without training are of this kind.

    Args:
        teacher: with its settings; of classes.
        labels: B classes.
        first: units that are drawn one by one.
        seed: one number, or one for each image; codes are drawn by chance.

    Returns:
        Codes int64 [B, n]; and the passes, the last of them in phase "at once".

    Raises:
        ConfigError: ``first`` is no number of units below all, or the teacher is of texts.
        DataError: a label is no class.
    """
    if not 0 <= first < teacher.units.count:
        raise ConfigError(f"first is {first} and the teacher has {teacher.units.count} units: give 0 to one less")
    generators = row_generators(seed, len(labels))
    known, stats = torch.empty(len(labels), 0, dtype=torch.int64), DecodeStats()

    def pick(unit: int, logits: Tensor, _: Sequence[Generator]) -> Tensor:
        return teacher.sampler.pick(logits, generators)

    if first:
        known, stats = teacher.draw(labels, pick, stop=first)
    if isinstance(teacher, VarTeacher):
        rest = _scales(teacher, labels, known, first, generators, stats)
    elif isinstance(teacher, LlamaGenTeacher) and teacher.texts is None:
        rest = _codes(teacher, labels, known, generators, stats)
    else:
        raise ConfigError("codes are drawn at once for classes alone: give a teacher of classes")
    stats.generated = [teacher.units.total] * len(labels)
    for _ in labels:
        stats.accept(rest.shape[1])
    return torch.cat([known.to(rest.device), rest], dim=1), stats


def _scales(
    teacher: VarTeacher,
    labels: Sequence[int],
    known: Tensor,
    first: int,
    generators: Sequence[Generator],
    stats: DecodeStats,
) -> Tensor:
    model, schedule = cast(Var, teacher.model), teacher.schedule
    classes = checked_labels(labels, teacher.conditions).to(model.device)
    strengths = guidance_of(teacher.options, schedule.count)
    guided = guided_passes(strengths[first:]) > 0
    condition = model.condition(classes)
    if guided:
        condition = torch.cat([condition, model.null_condition(len(classes))])
    history = cast(Tokenizer, teacher.tokenizer).history(len(classes), schedule)
    inputs = []
    for scale in range(1, schedule.count):
        if scale <= first:
            history.add(known[:, teacher.units.part(scale - 1)])
        fed = F.interpolate(history.features, size=schedule.sizes[scale], mode="area")
        inputs.append(torch.cat([fed, fed]) if guided else fed)
    with stats.forward("at once", len(condition), schedule.total):
        hidden = model.teacher_forced(condition, inputs, schedule)
    drawn = []
    for scale in range(first, schedule.count):
        states = hidden[:, teacher.units.part(scale)]

        def head(rows: int, states: Tensor = states) -> Tensor:
            out: Tensor = model.head(states[:rows], condition[:rows])
            return out

        drawn.append(teacher.sampler.pick(guided_logits(head, len(classes), strengths[scale]), generators))
    return torch.cat(drawn, dim=1)


def _codes(
    teacher: LlamaGenTeacher,
    labels: Sequence[int],
    known: Tensor,
    generators: Sequence[Generator],
    stats: DecodeStats,
) -> Tensor:
    model = cast(LlamaGen, teacher.model)
    condition, count = class_condition(model, labels), known.shape[1]
    strengths = interval_guidance(teacher.options.guidance, model.config.codes, teacher.options.guidance_interval)
    guided = guided_passes(strengths[count:]) > 0
    given = condition.doubled().given if guided else condition.given
    codes = model.embed(known.to(model.device))
    unknown = model.codes.weight.mean(0).expand(len(codes), model.config.codes - 1 - count, -1)
    fed = torch.cat([codes, unknown], dim=1)
    x = torch.cat([given, torch.cat([fed, fed]) if guided else fed], dim=1)
    with stats.forward("at once", len(x), x.shape[1]):
        hidden = model.hidden(x, mask=raster_mask(0, x.shape[1], None, x.device))[:, count:]
    # Guidance may end within the pass.
    drawn = []
    for place in range(hidden.shape[1]):
        states = hidden[:, place : place + 1]

        def head(rows: int, states: Tensor = states) -> Tensor:
            return model.head(states[:rows])

        logits = guided_logits(head, len(codes), strengths[count + place])
        drawn.append(teacher.sampler.pick(logits, generators))
    return torch.cat(drawn, dim=1)
