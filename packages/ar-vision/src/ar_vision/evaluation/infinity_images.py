"""Infinity under the signature that all generators have here: the number of a prompt stands where others have a class."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.config import from_dict
from ar_core.errors import ConfigError

from ..backbones.infinity.decode import InfinityOptions, generate
from ..backbones.infinity.model import Infinity
from ..backbones.infinity.schedules import chosen_schedule
from ..backbones.infinity.text import Text
from ..backbones.infinity.text_encoder import build_text_encoder
from ..decoding.generated import GeneratedImages, OnScale
from ..scales import ScaleSchedule
from ..tokenizers.bsq.model import BsqTokenizer
from .prompts import Prompts

__all__ = ["InfinityImages"]

PER_SCALE = ("guidance", "temperature")


class InfinityImages:
    """Draws images of prompts.

    Prompts are encoded once and each by itself, so that no image depends on the other prompts; the encoder is dropped then.

    Args:
        model: in eval mode, on its device.
        tokenizer: the one that it was trained with.
        prompts: texts and shape.
        settings: of `InfinityOptions`, by name; guidance and temperature may be single numbers.

    Attributes:
        schedule: scales of the images.

    Raises:
        ConfigError: no prompt or an empty list, a shape or setting that the model does not have, a negative text without
            guidance, or a text encoder other than the model's.
        DataError: a text does not fit the model.
    """

    def __init__(self, model: Infinity, tokenizer: BsqTokenizer, prompts: Prompts, settings: Mapping[str, Any]) -> None:
        if not prompts.texts:
            raise ConfigError("prompts is empty: give at least one text")
        several = {name: _several(value) if name in PER_SCALE else value for name, value in settings.items()}
        self.options = from_dict(InfinityOptions, several, "decoding")
        if prompts.negative is not None and all(scale == 1 for scale in self.options.guidance):
            raise ConfigError(
                "negative was given and guidance is 1, which leads away from nothing: give one of them up"
            )
        self.model, self.tokenizer = model, tokenizer
        self.schedule: ScaleSchedule = chosen_schedule(
            model.config.schedules, tokenizer.downsampling, prompts.size, prompts.ratio, prompts.pixels
        )
        encoder = build_text_encoder(model.config, prompts.text_encoder)
        device = next(model.parameters()).device
        self.texts = [encoder.encode([text]).to(device).features[0] for text in prompts.texts]
        negative = prompts.negative
        self.negative = None if negative is None else encoder.encode([negative]).to(device).features[0]
        for features in self.texts if self.negative is None else [*self.texts, self.negative]:
            Text.of([features]).check(model.config)

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None
    ) -> GeneratedImages:
        """Return one image for each number of a prompt."""
        negative = None if self.negative is None else Text.of([self.negative] * len(labels))
        return generate(
            self.model,
            self.tokenizer,
            Text.of([self.texts[label] for label in labels]),
            self.schedule,
            self.options,
            negative=negative,
            seed=list(seeds),
            on_scale=on_scale,
        )


def _several(value: Any) -> Any:
    return [value] if isinstance(value, int | float) else value
