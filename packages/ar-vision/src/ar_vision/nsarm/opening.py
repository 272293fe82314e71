"""From the folders of a command to an upscaler and the features of texts.

Source: ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ar_core.config import expand_path, from_dict
from ar_core.errors import CheckpointError, ConfigError
from ar_core.training.device import choose_device
from torch import Tensor

from ..checkpoint import fingerprint, load_checkpoint, require_pair
from ..evaluation.computing import dtype_name, placed
from ..evaluation.sampling_config import ComputeDtype
from ..text.encoder import TextEncoder, build_text_encoder, encoded_alone
from ..tokenizers.bsq.model import BsqTokenizer
from .decode import NsarmOptions
from .model import Nsarm
from .prompt import PROMPT
from .upscaler import Tiling, Upscaler

__all__ = ["Opened", "UpscalingConfig", "open_upscaler"]

PER_SCALE = ("guidance", "temperature")


@dataclass(frozen=True, kw_only=True)
class UpscalingConfig(Tiling):
    """With which checkpoint photographs are upscaled, and how.

    Raises:
        ConfigError: a value is out of range, or a setting was given twice.
    """

    checkpoint: str
    """Folder of an nsarm checkpoint; ``~`` and ``$NAME`` are expanded."""

    tokenizer: str
    """Folder of the tokenizer that it was trained with."""

    prompt: str | None = None
    """Text of all photographs; null: their first captions where they have some, else the sentence that the checkpoint was trained with."""

    text_encoder: str | None = None
    """Folder, or hub name, of the T5 that the model takes its text from (extra ``text``); null where it takes hashed words."""

    guidance: float | None = None
    """g (cfg); null: 1, which means none, as published."""

    temperature: float | None = None
    """tau; 0 is greedy, the same for every seed. null: 0.5, as published."""

    top_p: float | None = None
    """Force bits whose rarer value is at most 1 - p probable; null: 0.97, as published."""

    decoding: dict[str, Any] = field(default_factory=dict)
    """Other settings, such as decoding.draw=multinomial."""

    seed: int = 0
    """Photograph i draws from streams of its own under this seed."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes CUDA if there is one."""

    dtype: ComputeDtype = "auto"
    """That both models compute in: as their weights are stored, or any other; auto is float32 on a CPU and stored elsewhere."""

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the decoder that were given."""
        given = {name: getattr(self, name) for name in ("guidance", "temperature", "top_p")}
        given = {name: value for name, value in given.items() if value is not None}
        twice = next((name for name in given if name in self.decoding), None)
        if twice is not None:
            raise ConfigError(f"{twice} was given by itself and in decoding: give it once")
        every = {**given, **self.decoding}
        return {
            name: [value] if name in PER_SCALE and isinstance(value, int | float) else value
            for name, value in every.items()
        }


@dataclass(frozen=True)
class Opened:
    """An upscaler, and what texts are encoded by.

    Attributes:
        upscaler: ready to run.
        encoder: of texts.
        prompt: text of a photograph without one.
        facts: what decides results, given the photographs, JSON-able.
        known: features of texts that were encoded before.
    """

    upscaler: Upscaler
    encoder: TextEncoder
    prompt: str
    facts: Mapping[str, Any]
    known: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def features(self, text: str) -> Tensor:
        """Return the features of a text, [n, Ct] on the model's device; each text is encoded once, and cut off if it is too long."""
        if text not in self.known:
            (found,) = encoded_alone(self.encoder, [text])
            self.known[text] = found.to(next(self.upscaler.model.parameters()).device)
        return self.known[text]


def open_upscaler(config: UpscalingConfig) -> Opened:
    """Load a checkpoint and its tokenizer, and check that they belong together.

    Raises:
        CheckpointError: a folder cannot be loaded, holds another kind, or is no pair with the other.
        ConfigError: a setting is unknown or out of range; a text encoder other than the model's; there is no such device.
    """
    where = choose_device(config.device)
    options = from_dict(NsarmOptions, config.settings, "decoding")
    loaded = load_checkpoint(expand_path(config.checkpoint), "upscaler")
    coder = load_checkpoint(expand_path(config.tokenizer), "tokenizer")
    require_pair(loaded, coder)
    if not isinstance(loaded.model, Nsarm):
        raise CheckpointError(f"{config.checkpoint} holds a {loaded.family.kind}: give the folder of an nsarm")
    identity = {"checkpoint": fingerprint(loaded.model), "tokenizer": fingerprint(coder.model)}
    model = cast(Nsarm, placed(loaded, where, config.dtype))
    tokenizer = cast(BsqTokenizer, placed(coder, where, config.dtype))
    tiling = Tiling(config.overlap, config.colour, config.batch_size)
    upscaler = Upscaler(model, tokenizer, options, tiling)
    facts = {
        **identity,
        "provenance": dict(loaded.provenance),
        "decoding": config.settings | {"input_resize": options.input_resize or model.config.input_resize},
        "overlap": upscaler.overlap,
        "colour": config.colour,
        "seed": config.seed,
        "dtype": dtype_name(model),
    }
    encoder = build_text_encoder(model.config.transformer.texts, config.text_encoder)
    # An empty text is a text: null alone stands for none.
    asked = (config.prompt, loaded.provenance.get("prompt"), PROMPT)
    return Opened(upscaler, encoder, next(text for text in asked if text is not None), facts)
