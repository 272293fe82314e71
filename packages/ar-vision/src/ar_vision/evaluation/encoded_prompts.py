"""Prompts as features, for generators that have one shape of images and no negative texts."""

from ar_core.errors import ConfigError
from torch import Tensor

from ..text.config import TextShape
from ..text.encoder import build_text_encoder, encoded_alone, tell_of_cuts
from .prompts import Prompts

__all__ = ["encoded_prompts", "require_prompts"]


def encoded_prompts(prompts: Prompts, shape: TextShape, kind: str) -> list[Tensor]:
    """Return the features of each prompt, float32 [n, Ct] on the CPU, encoded by itself; one that is too long is cut off and told of.

    Args:
        prompts: texts.
        shape: of the model's texts.
        kind: what messages call the model.

    Raises:
        ConfigError: no prompt or an empty list; a negative text, or a shape of the images; a text encoder other than the model's.
    """
    require_prompts(prompts)
    if prompts.negative is not None:
        raise ConfigError(
            f"negative was given and a {kind} is led away from the null text that it has learned alone: leave it out"
        )
    if prompts.size is not None or prompts.pixels is not None or prompts.ratio != 1:
        raise ConfigError(f"a shape was given and a {kind} has images of one size: leave out size, ratio and pixels")
    encoder = build_text_encoder(shape, prompts.text_encoder)
    tell_of_cuts(encoder, prompts.texts)
    return encoded_alone(encoder, prompts.texts)


def require_prompts(prompts: Prompts) -> None:
    """Refuse an empty list.

    Raises:
        ConfigError: there is no prompt.
    """
    if not prompts.texts:
        raise ConfigError("prompts is empty: give at least one text")
