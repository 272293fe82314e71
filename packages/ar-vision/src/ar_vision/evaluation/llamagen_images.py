"""LlamaGen under the signature that all class-conditional generators have here."""

from collections.abc import Sequence

import torch

from ..backbones.llamagen.decode import LlamaGenOptions, class_condition
from ..backbones.llamagen.decode import generate as generate_codes
from ..backbones.llamagen.model import LlamaGen
from ..decoding.generated import GeneratedImages, OnScale
from ..scales import ScaleSchedule
from ..tokenizers.tokenizer import Tokenizer

__all__ = ["generate"]


@torch.inference_mode()
def generate(
    model: LlamaGen,
    tokenizer: Tokenizer,
    labels: Sequence[int],
    options: LlamaGenOptions,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Generate one image for each label, code after code.

    Args:
        model: in eval mode.
        tokenizer: the one that it was trained with.
        labels: B classes.
        options: guidance and draws.
        seed: one number, or one for each image.
        on_scale: called once, with the features of the finished grid: the only scale there is.
    """
    drawn = generate_codes(model, class_condition(model, labels), options, seed=seed)
    history = tokenizer.history(len(labels), ScaleSchedule.square(model.config.grid))
    history.add(drawn.codes)
    if on_scale is not None:
        on_scale(0, history.features)
    with drawn.stats.timed("pixels"):
        images = tokenizer.decode(history.features).float().clamp(-1, 1)
    return GeneratedImages(images, [drawn.codes], drawn.stats)
