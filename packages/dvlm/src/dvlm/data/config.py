"""Where training conversations come from. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ..chat.config import ChatConfig
from ..images.config import ImageConfig

__all__ = ["VisionTextDataConfig"]


@dataclass(frozen=True)
class VisionTextDataConfig:
    """Conversations about images, and how they become token ids and pixels.

    Raises:
        ConfigError: a value is out of range, or a setting is given that the kind of data never uses.
    """

    kind: Literal["conversations", "shapes"] = "conversations"
    """``conversations``: JSON Lines, a JSON list or a YAML mix of such files, in the published format, `{"id", "image": path | [paths], "conversations":
    [{"from": "human" | "gpt", "value": text}, ...]}`, text-only records without `image`, whose other name
    is `images`. ``shapes``: drawn pictures with
    questions that have exact answers, no file at all."""
    path: str | None = None
    """The file; ``~`` and ``$NAME`` are expanded."""
    image_root: str | None = None
    """Folder that image paths are relative to; null is the folder of the file. Of a mix, it is for data sets without an `image_root`
    of their own."""
    count: int | None = None
    """Take only the first ``count`` records; how many are drawn, for kind ``shapes``."""
    held_out: float = 0.0
    """Share of the records that is never trained on, in [0, 1): decided by a hash of the record, without the
    folder of its pictures."""
    max_length: int = 8192
    """Most positions of a sample, image tokens included; longer ones are cut at the end. A multiple of the block size.
    Published: 8192."""
    batches: Literal["mixed", "by_modality"] = "mixed"
    """``mixed``: text-only and image samples in any order. ``by_modality``: optimiser steps of one kind and of similar length
    (published: grouped by modality and length); what is left of both kinds makes at most one step of both in an epoch, and what
    fills no step is dropped."""
    images: ImageConfig = field(default_factory=ImageConfig)
    """The fit of pictures."""
    chat: ChatConfig = field(default_factory=ChatConfig)
    """The form of turns."""

    def __post_init__(self) -> None:
        require_positive(self, "count", "max_length")
        if self.kind == "shapes":
            if self.path is not None or self.image_root is not None:
                raise ConfigError("data.path or data.image_root is given for kind shapes, which reads no file: drop it")
            if self.count is None:
                raise ConfigError("data.count is not given: say how many pictures are drawn, for kind shapes")
        elif not self.path:
            raise ConfigError("data.path is not given: give a JSON Lines file of conversations")
        if self.chat.form == "plain" and self.chat.system not in (None, ChatConfig.system):
            raise ConfigError(
                f"data.chat.system is {self.chat.system!r}, and conversations of the form plain have no system turn: set data.chat.form to "
                "chatml, or drop it"
            )
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out is {self.held_out} and must be in [0, 1)")
