"""Generation with FlexVAR, on any schedule.

Source: FlexVAR (arXiv 2502.20313) and its published code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ar_core.config import require_positive
from torch import Generator, Tensor

from ...decoding.generated import GeneratedImages, OnScale
from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from ..scale_transformer.decode import ScaleDecoding, generate_classes
from .model import FlexVar

__all__ = ["FlexVarDecoding", "generate", "guidance_of"]

_SAMPLED_SIDES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 23, 24, 32)
"""Sides on which published code samples; on any other it takes the most probable code."""

_FULL_AT = 9
"""Scale at which the published ramp is complete, however many there are."""


@dataclass(frozen=True, kw_only=True)
class FlexVarDecoding(ScaleDecoding):
    """How FlexVAR's codes are chosen.

    Every scale is sampled alike. Published code takes the most probable code on sides above ``max_side`` and on all that are
    not 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 23, 24 or 32, whatever was asked for: its schedule of 13 steps is greedy on 7, 9, 12
    and 14. ``published_argmax`` does so too.

    Raises:
        ConfigError: a value is out of range.
    """

    scales: tuple[int, ...] | None = None
    """Sides of the scales; None takes the model's own."""
    max_side: int = 16
    """Largest side that was trained: above it guidance is full at once."""
    published_argmax: bool = False
    """Be greedy where published code is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "max_side")


def guidance_of(options: FlexVarDecoding, schedule: ScaleSchedule) -> tuple[float, ...]:
    """Return g_k of each scale: 1 + (g - 1) k / min(K - 1, 9), which exceeds g behind the tenth, and g above ``max_side``; or g.

    Published code calls a constant g ``used_llamagen_cfg``.
    """
    if options.guidance_schedule == "constant":
        return (options.guidance,) * schedule.count
    full_at = max(min(schedule.count - 1, _FULL_AT), 1)
    return tuple(
        1 + (options.guidance - 1) * (1 if max(size) > options.max_side else k / full_at)
        for k, size in enumerate(schedule.sizes)
    )


def generate(
    model: FlexVar,
    tokenizer: Tokenizer,
    labels: Tensor | Sequence[int],
    options: FlexVarDecoding | None = None,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Generate one image for each label, in one forward pass a scale; the last scale decides the size.

    Args:
        model: in eval mode.
        tokenizer: the one that it was trained with, on the same device.
        labels: B classes, int64 [B]; ``num_classes`` stands for none.
        options: how codes are chosen, and the schedule.
        seed: one number, or one for each image; an image depends on its own alone.
        on_scale: called after each scale with that scale's features.

    Raises:
        DataError: a label is no class.
        CheckpointError: the tokenizer has other codes than the model.
        ConfigError: the scales are no schedule.
    """
    options = FlexVarDecoding() if options is None else options
    schedule = ScaleSchedule.square(*(model.config.scales if options.scales is None else options.scales))
    sampler = options.sampler
    greedy = replace(sampler, temperature=0.0)

    def pick(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        side = max(schedule.sizes[scale])
        forced = options.published_argmax and (side > options.max_side or side not in _SAMPLED_SIDES)
        return (greedy if forced else sampler).pick(logits, generators)

    guidance = guidance_of(options, schedule)
    return generate_classes(model, tokenizer, labels, schedule, guidance, pick, seed=seed, on_scale=on_scale)
