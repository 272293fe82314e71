"""LlamaGen, and FAR, under the signatures that all generators have here: of classes, and of prompts."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.config import from_dict
from ar_core.errors import ConfigError

from ..backbones.llamagen.decode import LlamaGenOptions, class_condition, generate_images, text_condition
from ..backbones.llamagen.model import LlamaGen
from ..backbones.llamagen.trunk import RasterTransformer
from ..decoding.generated import GeneratedImages, OnScale
from ..decoding.raster import RasterCondition
from ..scales import ScaleSchedule
from ..tokenizers.tokenizer import Tokenizer
from .encoded_prompts import encoded_prompts
from .prompts import Prompts

__all__ = ["LlamaGenImages", "generate"]


def generate(
    model: RasterTransformer,
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
        on_scale: must be None.

    Raises:
        ConfigError: scales were asked for, of which there are none.
    """
    return _generated(model, tokenizer, class_condition(model, labels), options, seed, on_scale)


class LlamaGenImages:
    """Draws images of prompts; what guidance leads away from is the learned null text.

    Prompts are encoded once and each by itself, so that no image depends on the other prompts; the encoder is dropped then.

    Args:
        model: of texts, in eval mode, on its device.
        tokenizer: the one that it was trained with.
        prompts: texts.
        settings: of `LlamaGenOptions`, by name.

    Attributes:
        schedule: the one grid.

    Raises:
        ConfigError: no prompt or an empty list, a negative text or a shape, or a text encoder other than the model's; an unknown
            setting.
    """

    def __init__(self, model: LlamaGen, tokenizer: Tokenizer, prompts: Prompts, settings: Mapping[str, Any]) -> None:
        self.options = from_dict(LlamaGenOptions, settings, "decoding")
        self.model, self.tokenizer = model, tokenizer
        self.schedule = ScaleSchedule.square(model.config.grid)
        self.texts = encoded_prompts(prompts, model.config.texts, "llamagen")

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None
    ) -> GeneratedImages:
        """Return one image for each number of a prompt."""
        condition = text_condition(self.model, [self.texts[label] for label in labels])
        return _generated(self.model, self.tokenizer, condition, self.options, list(seeds), on_scale)


def _generated(
    model: RasterTransformer,
    tokenizer: Tokenizer,
    condition: RasterCondition,
    options: LlamaGenOptions,
    seed: int | Sequence[int],
    on_scale: OnScale | None,
) -> GeneratedImages:
    if on_scale is not None:
        raise ConfigError(f"a {model.kind} draws code after code and has no scales to show: leave out scales")
    return generate_images(model, tokenizer, condition, options, seed=seed)
