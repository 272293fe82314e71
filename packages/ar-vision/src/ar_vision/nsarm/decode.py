"""Super-resolution of small images of the one size that a model takes: M, then the transformer, then the tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ar_core.decoding import DecodeStats
from ar_core.errors import DataError
from torch import Generator, Tensor

from ..backbones.infinity.decode import InfinityOptions, InfinityPasses, per_scale, pick_bits
from ..checkpoint import require_codes
from ..decoding.generated import GeneratedImages
from ..decoding.scalewise import PickScale, generate_scales
from ..text.text import Text
from ..tokenizers.bsq.config import InputResize
from ..tokenizers.bsq.model import BsqTokenizer
from .model import Nsarm

__all__ = ["NsarmOptions", "upscale"]


@dataclass(frozen=True)
class NsarmOptions(InfinityOptions):
    """How bits are drawn. The defaults are the published ones: no guidance, temperature 0.5, top-p 0.97.

    Raises:
        ConfigError: a value is out of range.
    """

    guidance: tuple[float, ...] = (1.0,)
    """g: 1 means none, as published; one for all scales, or one for each. It acts from the first written scale on."""
    input_resize: InputResize | None = None
    """How the image so far becomes the input of a scale; null: as the model says, which is ``area`` for converted weights, whose decoder
    has it, and ``bilinear``, as in training, for others."""
    spend_replaced_draws: bool = False
    """Draw the bits of M's scales too and throw them away, as the published decoder does: for the bits of a published seed, with
    ``draw: multinomial``."""


@torch.no_grad()
def upscale(
    model: Nsarm,
    tokenizer: BsqTokenizer,
    low: Tensor,
    text: Text,
    options: NsarmOptions,
    *,
    seed: int | Sequence[int] = 0,
) -> GeneratedImages:
    """Upscale B images of the size that M takes.

    The scales of M go through the transformer in one pass, without head or draws; the published decoder runs a pass for each.
    Colours are not corrected.

    Args:
        model: in eval mode.
        tokenizer: the one that it was trained with, in eval mode.
        low: LQ images, [B, 3, h, w] in [-1, 1].
        text: B texts.
        options: of the draws.
        seed: as `ar_core.sampling.row_generators` takes it.

    Returns:
        Images [B, 3, factor h, factor w]; bits of all scales, those of M first; stats with the phases ``map`` (encoder and M),
        ``scale``, ``history`` and ``pixels``.

    Raises:
        CheckpointError: the tokenizer has other bits than the model.
        DataError: images or texts do not fit the model.
    """
    require_codes(model, tokenizer)
    if text.rows != len(low):
        raise DataError(f"{len(low)} images and {text.rows} texts were given: give a text for each")
    config, schedule = model.config, model.config.schedule
    own = DecodeStats()
    with own.timed("map"):
        residuals = model.residuals(tokenizer, low)
        history = tokenizer.history(len(low), schedule, input_resize=options.input_resize or config.input_resize)
        given = [history.bits_of(residual) for residual in residuals]
    guidance = list(per_scale("guidance", options.guidance, schedule))
    # Scales that nobody draws need no guidance, which acts on logits and hidden states of what is drawn.
    guidance[: config.map.count] = [1.0] * config.map.count
    passes = InfinityPasses(model.transformer, text, schedule, guidance, options.guidance_layers)
    pick = pick_bits(options, schedule)
    if options.spend_replaced_draws:
        pick = _spending(pick, model)
    bits, stats = generate_scales(passes, history, pick, seed=seed, given=given)
    with own.timed("pixels"):
        images = tokenizer.decode(history.features).float().clamp(-1, 1)
    return GeneratedImages(images, bits, stats + own)


def _spending(pick: PickScale, model: Nsarm) -> PickScale:
    schedule, bits, count = model.config.schedule, model.config.bits, model.config.map.count

    def picked(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        if scale == count:
            for before, length in enumerate(schedule.lengths[:count]):
                pick(before, logits.new_zeros(len(logits), length, 2 * bits), generators)
        return pick(scale, logits, generators)

    return picked
