"""How a conversation becomes text. Imports no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from ar_core.errors import ConfigError

__all__ = ["QWEN_SYSTEM", "ChatConfig"]

QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
"""The system sentence of the Qwen2.5 chat template."""


@dataclass(frozen=True)
class ChatConfig:
    """The form of turns.

    Raises:
        ConfigError: a value is out of range.
    """

    form: Literal["chatml", "plain"] = "chatml"
    """``chatml``: ``<|im_start|>role``, a line break, the content, ``<|im_end|>`` and a line break, after a system turn
    (published). ``plain``: contents one after another, each with a line break behind it, the assistant's with the tokenizer's end
    of text; for tokenizers without turn tokens."""
    system: str | None = QWEN_SYSTEM
    """Text of the system turn of ``chatml``; null leaves the turn out."""
    vision_markers: bool = False
    """Put ``<|vision_start|>`` and ``<|vision_end|>`` around an image, as Qwen-VL's own template does. Published: false."""

    break_after_image: bool = True
    """Put a line break behind each image that goes in front of a text: of a question which names no place for it, or of a turn which
    names one for a single image and not at its beginning (published data). Qwen-VL's own template has none."""

    def __post_init__(self) -> None:
        if self.form not in get_args(ChatConfig.__annotations__["form"]):
            raise ConfigError(f"form is {self.form!r}, but must be chatml or plain")
