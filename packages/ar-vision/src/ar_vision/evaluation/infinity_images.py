"""Infinity under the signature that all generators have here: the number of a prompt stands where others have a class."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.config import from_dict
from ar_core.errors import ConfigError

from ..backbones.infinity.decode import InfinityOptions, generate
from ..backbones.infinity.model import Infinity
from ..backbones.infinity.schedules import chosen_schedule
from ..decoding.generated import GeneratedImages, OnScale
from ..scales import ScaleSchedule
from ..text.encoder import build_text_encoder, encoded_alone, tell_of_cuts
from ..text.text import Text
from ..tokenizers.bsq.model import BsqTokenizer
from .encoded_prompts import require_prompts
from .prompts import Prompts

__all__ = ["InfinityImages"]

PER_SCALE = ("guidance", "temperature")


class InfinityImages:
    """Draws images of prompts.

    Prompts are encoded once and each by itself, so that no image depends on the other prompts; the encoder is dropped then. Those that
    are too long are cut off, which standard error is told.

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
    """

    def __init__(self, model: Infinity, tokenizer: BsqTokenizer, prompts: Prompts, settings: Mapping[str, Any]) -> None:
        require_prompts(prompts)
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
        encoder = build_text_encoder(model.config.texts, prompts.text_encoder)
        device = next(model.parameters()).device
        asked = prompts.texts if prompts.negative is None else [*prompts.texts, prompts.negative]
        tell_of_cuts(encoder, asked)
        features = [one.to(device) for one in encoded_alone(encoder, asked)]
        self.texts, self.negative = features[: len(prompts.texts)], next(iter(features[len(prompts.texts) :]), None)

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
