"""Settings of drawing images from a checkpoint, which several commands share. Imports no torch."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from ar_core.errors import ConfigError

from .prompts import Prompts

__all__ = ["ComputeDtype", "SamplingConfig", "refuse_set"]

ComputeDtype = Literal["auto", "stored", "float32", "bfloat16", "float16"]
"""What models compute in: fit for the device, as stored, or by name."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """From which checkpoint, and how.

    Raises:
        ConfigError: a value is out of range, or a setting was given twice.
    """

    checkpoint: str | None = None
    """Folder of the generator; ``~`` and ``$NAME`` are expanded."""

    tokenizer: str | None = None
    """Folder of the tokenizer that it was trained with."""

    labels: tuple[int, ...] | None = None
    """One round of labels; null: every class once."""

    prompts: str | tuple[str, ...] | None = None
    """One round of texts, in place of labels, for a generator of texts (Infinity, a LlamaGen of texts or its student): one, or a list."""

    negative: str | None = None
    """Text that guidance leads away from, of an Infinity; null: the unconditional one that the model has learned."""

    text_encoder: str | None = None
    """Folder, or hub name, of the T5 that the generator takes its text from (extra ``text``); null where it takes hashed words."""

    size: int | tuple[int, int] | None = None
    """Of images of prompts: side in pixels, or height and width, one that the generator was trained on; null: by ratio."""

    ratio: float | None = None
    """Of images of prompts: height over width; the nearest one that the generator was trained on is taken. null: 1."""

    pixels: str | None = None
    """Of images of prompts by published models, beside ratio: 0.06M, 0.25M, 0.60M or 1M (256 to 1024 a side); null: 1M."""

    guidance: float | None = None
    """g (cfg), 1 means none; null: the decoder's own, as the next three."""

    temperature: float | None = None
    """T (tau); 0 is greedy."""

    top_k: int | None = None
    """Draw from so many codes."""

    top_p: float | None = None
    """Draw from this much mass."""

    decoding: dict[str, Any] = field(default_factory=dict)
    """Other settings of the kind's decoder, such as decoding.guidance_schedule=constant."""

    seed: int = 0
    """Image i draws from a stream of its own under this seed."""

    batch_size: int = 16
    """Images of a forward pass; changes no image."""

    shard: str = "1/1"
    """``i/n``: draw this share of the chunks; give it to n runs of one output."""

    chunk_size: int = 64
    """Images that a killed run has to draw again at most."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes CUDA if there is one."""

    dtype: ComputeDtype = "auto"
    """That both models compute in: as their weights are stored, or any other; auto is float32 on a CPU and stored elsewhere."""

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the decoder that were given."""
        names = ("guidance", "temperature", "top_k", "top_p")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        twice = next((name for name in given if name in self.decoding), None)
        if twice is not None:
            raise ConfigError(f"{twice} was given by itself and in decoding: give it once")
        return {**given, **self.decoding}

    @property
    def asked(self) -> Prompts | None:
        """What a generator of texts is asked for; None where no prompt was given.

        Raises:
            ConfigError: labels are given beside prompts, or what belongs to prompts without any; a size beside a ratio.
        """
        own = ("negative", "text_encoder", "size", "ratio", "pixels")
        given = {name: getattr(self, name) for name in own if getattr(self, name) is not None}
        if self.prompts is None:
            if given:
                raise ConfigError(f"{next(iter(given))} was given without prompts, to which it belongs: give prompts")
            return None
        if self.labels is not None:
            raise ConfigError(
                "labels and prompts were both given: give labels to generators of classes, prompts to others"
            )
        beside = [name for name in ("ratio", "pixels") if name in given]
        if "size" in given and beside:
            raise ConfigError(f"size and {beside[0]} were both given: give the size, or ratio and pixels")
        texts = (self.prompts,) if isinstance(self.prompts, str) else self.prompts
        return Prompts(texts, **given)


def refuse_set(config: Any, *names: str, because: str) -> None:
    """Refuse settings that would change nothing.

    Args:
        config: a dataclass.
        names: of its fields.
        because: why they would not, as the first half of a sentence.

    Raises:
        ConfigError: one of them is not at its default; names it.
    """
    defaults = {
        one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(config)
    }
    given = next((name for name in names if getattr(config, name) != defaults[name]), None)
    if given is not None:
        raise ConfigError(f"{because}, and {given} would change nothing: leave it out")
