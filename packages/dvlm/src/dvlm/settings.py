"""What a checkpoint says about itself beyond its weights. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from .chat.config import ChatConfig
from .images.config import ImageConfig

__all__ = ["Diffusion", "Settings"]


@dataclass(frozen=True)
class Diffusion:
    """How a converted model denoises.

    Raises:
        ConfigError: a value is out of range.
    """

    mask_id: int
    """Id of M."""
    block_size: int = 8
    """D that it was trained with."""
    clean: Literal["block", "token"] = "block"
    """What its clean tokens see."""

    def __post_init__(self) -> None:
        require_positive(self, "block_size")
        if self.mask_id < 0:
            raise ConfigError(
                f"mask_id is {self.mask_id}, but must be at least 0: give the id of a row of the embedding"
            )
        if self.clean not in (choices := get_args(Diffusion.__annotations__["clean"])):
            raise ConfigError(f"clean is {self.clean!r}, but must be one of {', '.join(choices)}")


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
