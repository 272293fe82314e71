"""Settings of drawing images from a checkpoint, which several commands share. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any

from ar_core.errors import ConfigError

__all__ = ["SamplingConfig"]


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

    guidance: float | None = None
    """g, 1 means none; null: the decoder's own, as the next three."""

    temperature: float | None = None
    """T; 0 is greedy."""

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

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the decoder that were given."""
        names = ("guidance", "temperature", "top_k", "top_p")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        twice = next((name for name in given if name in self.decoding), None)
        if twice is not None:
            raise ConfigError(f"{twice} was given by itself and in decoding: give it once")
        return {**given, **self.decoding}
