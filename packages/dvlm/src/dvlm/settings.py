"""What a checkpoint says about itself beyond its weights. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from .chat.config import ChatConfig
from .images.config import ImageConfig

__all__ = ["Diffusion", "Settings"]


@dataclass(frozen=True)
class Diffusion:
    """How a converted model denoises."""

    mask_id: int
    """Id of M."""
    block_size: int = 8
    """D that it was trained with."""
    clean: Literal["block", "token"] = "block"
    """What its clean tokens see."""


@dataclass(frozen=True)
class Settings:
    """How prompts and pictures were put before the model in training."""

    chat: ChatConfig = field(default_factory=ChatConfig)
    """The form of turns."""
    images: ImageConfig = field(default_factory=ImageConfig)
    """The fit of pictures. The published evaluation of route 1 takes ``native`` in place of ``square``."""
    mrope: bool = False
    """Whether image tokens have three-part positions."""
    diffusion: Diffusion | None = None
    """None: an autoregressive model."""
