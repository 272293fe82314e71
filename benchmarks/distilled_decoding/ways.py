"""All ways of drawing images that are held against each other, as generators of the sampling protocol."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.decoding import DecodeStats
from ar_vision.checkpoint import load_checkpoint
from ar_vision.decoding.generated import GeneratedImages
from ar_vision.distilled_decoding.at_once import draw_at_once
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.flow_pick import FlowPick
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.pairs.texts import features_of_texts
from ar_vision.distilled_decoding.sequence import features_of
from ar_vision.distilled_decoding.teacher import Teacher, open_teacher
from ar_vision.evaluation.generation import ImageGenerator, open_generator
from ar_vision.evaluation.prompts import Prompts
from ar_vision.tokenizers.codebook_tokenizer import CodebookTokenizer
from torch import Tensor

from benchmarks.images.study import BASE, Study

from .setups import AT_ONCE, CONTROL_NAME, FLOW, TEACHER, Setup
from .training import STUDENTS

__all__ = ["generators", "samples_of"]


def generators(
    setup: Setup, study: Study, decoding: Mapping[str, Any], solver: FlowSolver, prompts: Prompts | None = None
) -> dict[str, Callable[[], ImageGenerator]]:
    """What opens each way, by its name, the teacher's first.

    Args:
        setup: the teacher, and how its student is sampled.
        study: where it is, and its student and control.
        decoding: settings of the teacher, as in the header of the pairs.
        solver: of the flow that made the pairs.
        prompts: the texts of the pairs, for a teacher of texts.
    """
    teacher, tokenizer = str(study.model(BASE)), str(study.tokenizer)
    checkpoints = {name: str(study.model(name)) for name in STUDENTS}

    def student(settings: Mapping[str, Any]) -> ImageGenerator:
        more = {"teacher": teacher} if "teacher_start" in settings else {}
        return open_generator(checkpoints["student"], tokenizer, {**settings, **more}, prompts=prompts)

    def control() -> ImageGenerator:
        # Its codes are independent, and their largest logits would be one image a class.
        settings = {"choice": "sample", "split": _units(checkpoints["control"])}
        return open_generator(checkpoints["control"], tokenizer, settings, prompts=prompts)

    def at_once(first: int) -> ImageGenerator:
        def draw(own: Teacher, labels: Sequence[int], seeds: Sequence[int]) -> tuple[Tensor, DecodeStats]:
            return draw_at_once(own, labels, first=first, seed=list(seeds))

        return _of_codes(teacher, tokenizer, decoding, {"at_once_from": first}, draw, prompts)

    def by_flow() -> ImageGenerator:
        def draw(own: Teacher, labels: Sequence[int], seeds: Sequence[int]) -> tuple[Tensor, DecodeStats]:
            noise = noise_of(seeds, own.units.total, own.codebook.shape[1])
            return own.draw(labels, FlowPick(noise, own.units, own.sampler, own.codebook, solver))

        return _of_codes(teacher, tokenizer, decoding, {"draws": "flow"}, draw, prompts)

    ways: dict[str, Callable[[], ImageGenerator]] = {
        TEACHER: lambda: open_generator(teacher, tokenizer, decoding, prompts=prompts),
        FLOW: by_flow,
    }
    for first in setup.first:
        name = AT_ONCE if first == 0 else f"teacher, {first} units, then all at once"
        ways[name] = lambda first=first: at_once(first)  # type: ignore[misc]
    ways[CONTROL_NAME] = control
    for name, settings in setup.students.items():
        ways[name] = lambda settings=settings: student(settings)  # type: ignore[misc]
    return ways


def samples_of(study: Study, name: str, count: int) -> Path:
    """Where the images of a way are kept."""
    return study.home / "samples" / f"{count}_{''.join(letter if letter.isalnum() else '_' for letter in name)}"


def _units(checkpoint: str) -> int:
    model: Any = load_checkpoint(checkpoint).model
    return model.units.count


def _of_codes(
    teacher: str,
    tokenizer: str,
    decoding: Mapping[str, Any],
    facts: Mapping[str, Any],
    draw: Callable[[Teacher, Sequence[int], Sequence[int]], tuple[Tensor, DecodeStats]],
    prompts: Prompts | None,
) -> ImageGenerator:
    """A generator of what draws codes with a teacher."""
    loaded = load_checkpoint(teacher, "generator", dtype=torch.float32)
    coder = cast(CodebookTokenizer, load_checkpoint(tokenizer, "tokenizer", dtype=torch.float32).model)
    texts = None if prompts is None else prompts.texts
    own = open_teacher(loaded, coder, decoding, features_of_texts(loaded.model, texts, None, "the teacher"))
    plain = open_generator(teacher, tokenizer, decoding, prompts=prompts)

    @torch.no_grad()
    def sample(labels: Sequence[int], seeds: Sequence[int], *, on_scale: object = None) -> GeneratedImages:
        codes, stats = draw(own, labels, seeds)
        with stats.timed("pixels"):
            features = features_of(coder, coder.codebook.lookup(codes), own.schedule)
            images = coder.decode(features).float().clamp(-1, 1)
        return GeneratedImages(images, [codes], stats)

    return ImageGenerator(plain.kind, plain.classes, sample, {**plain.facts, **facts}, plain.pixels, plain.prompts)
