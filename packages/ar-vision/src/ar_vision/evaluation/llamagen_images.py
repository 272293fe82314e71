"""LlamaGen under the signature that all class-conditional generators have here."""

from collections.abc import Sequence

from ar_core.errors import ConfigError

from ..backbones.llamagen.decode import LlamaGenOptions, class_condition, generate_images
from ..backbones.llamagen.model import LlamaGen
from ..decoding.generated import GeneratedImages, OnScale
from ..tokenizers.tokenizer import Tokenizer

__all__ = ["generate"]


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
        on_scale: must be None.

    Raises:
        ConfigError: scales were asked for, of which there are none.
    """
    if on_scale is not None:
        raise ConfigError("a llamagen draws code after code and has no scales to show: leave out scales")
    return generate_images(model, tokenizer, class_condition(model, labels), options, seed=seed)
