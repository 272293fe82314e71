"""Images from a LlamaGen, or a FAR: conditions, guidance and draws, then the tokenizer.

Source: LlamaGen (arXiv 2406.06525) and its published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from ar_core.errors import DataError
from torch import Tensor, nn

from ...checkpoint import require_codes
from ...decoding.generated import GeneratedImages
from ...decoding.guidance import require_guidance
from ...decoding.image_sampler import ImageSampler
from ...decoding.raster import Codes, OnRow, RasterCondition, generate_raster, interval_guidance
from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from ..class_labels import checked_labels
from .conditions import ClassCondition, TextCondition, pad_texts
from .trunk import RasterTransformer

__all__ = ["LlamaGenOptions", "class_condition", "generate", "generate_images", "text_condition"]


@dataclass(frozen=True)
class LlamaGenOptions:
    """How codes are drawn; the defaults are those of the paper's FID but for guidance, which it tunes by size.

    Raises:
        ConfigError: a value is out of range.
    """

    guidance: float = 1.0
    """g: 1 means none. Published: 2.0 for B and L, 1.75 for XL and XXL, 1.65 for 3B, 7.5 for texts."""
    guidance_interval: int | None = None
    """The last guided step, counted from 0 (published as cfg_interval); null guides all."""
    temperature: float = 1.0
    """T; 0 is greedy."""
    top_k: int | None = None
    """Draw from so many codes; null for all. Published: 1000 for texts."""
    top_p: float | None = None
    """Draw from this much mass; null for all."""

    def __post_init__(self) -> None:
        require_guidance(self.guidance)
        interval_guidance(self.guidance, 1, self.guidance_interval)
        _ = self.sampler

    @property
    def sampler(self) -> ImageSampler:
        """The sampler, with LlamaGen's top-p."""
        return ImageSampler("llamagen", self.temperature, self.top_k, self.top_p)


def class_condition(model: RasterTransformer, labels: Tensor | Sequence[int]) -> RasterCondition:
    """Return the condition of B images from their classes, int64 [B]; the number behind the last class is the null class.

    Raises:
        DataError: the model takes texts, or a class is out of range.
    """
    if not isinstance(model.condition, ClassCondition):
        raise DataError("classes were given to a model that was trained on texts: give text features")
    ids = checked_labels(labels, model.condition.null_class).to(model.device)
    return RasterCondition(model.condition(ids), model.condition.null(len(ids)))


def text_condition(model: RasterTransformer, features: Sequence[Tensor]) -> RasterCondition:
    """Return the condition of B images from the features of their texts, `[n, text_dim]` each.

    The null half keeps the padding of its text, as published.

    Raises:
        DataError: the model takes classes, or features have another width.
    """
    if not isinstance(model.condition, TextCondition):
        raise DataError("text features were given to a model that was trained on classes: give classes")
    wide, valid = pad_texts(features, model.shape)
    given = model.condition(wide.to(model.device))
    return RasterCondition(given, model.condition.null(len(features)), valid.to(model.device))


@torch.inference_mode()
def generate(
    model: RasterTransformer,
    condition: RasterCondition,
    options: LlamaGenOptions,
    *,
    seed: int | Sequence[int] = 0,
    on_row: OnRow | None = None,
    count_flops: bool = False,
) -> Codes:
    """Draw the g² codes of each image; the tokenizer's ``decode`` makes pixels of them.

    Args:
        model: in eval mode.
        condition: of :func:`class_condition` or :func:`text_condition`.
        options: guidance and draws.
        seed: as `ar_core.sampling.row_generators` takes it.
        on_row: called after each row of the grid.
        count_flops: count operations; slow.
    """
    sampler = options.sampler
    return generate_raster(
        model,
        condition,
        lambda place, logits, generators: sampler.pick(logits, generators),
        guidance=interval_guidance(options.guidance, model.shape.codes, options.guidance_interval),
        width=model.shape.grid,
        seed=seed,
        on_row=on_row,
        count_flops=count_flops,
    )


@torch.inference_mode()
def generate_images(
    model: RasterTransformer,
    tokenizer: Tokenizer,
    condition: RasterCondition,
    options: LlamaGenOptions,
    *,
    seed: int | Sequence[int] = 0,
    on_row: OnRow | None = None,
) -> GeneratedImages:
    """Draw codes as :func:`generate` does, and decode them.

    Args:
        tokenizer: the one that the model was trained with, on its device and in eval mode.

    Raises:
        CheckpointError: the tokenizer has another number of codes.
    """
    require_codes(model, cast(nn.Module, tokenizer))
    drawn = generate(model, condition, options, seed=seed, on_row=on_row)
    with drawn.stats.timed("pixels"):
        history = tokenizer.history(len(drawn.codes), ScaleSchedule.square(model.shape.grid))
        history.add(drawn.codes)
        images = tokenizer.decode(history.features).float().clamp(-1, 1)
    return GeneratedImages(images, [drawn.codes], drawn.stats)
