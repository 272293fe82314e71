"""The decoders of a vision-language model by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ar_core.block_diffusion import BlockPolicy
from ar_core.config import did_you_mean, from_dict, to_dict
from ar_core.errors import ConfigError
from ar_core.registry import decoders, resolve

from ..diffusionvl.decode import DiffusionVLDecodeConfig, generate
from ..settings import Settings

__all__ = ["DIFFUSIONVL", "Method", "choose_method"]

DIFFUSIONVL = "diffusionvl"
"""Name of the block decoder; all others are those of text."""


@dataclass(frozen=True)
class Method:
    """A decoder with its settings."""

    name: str
    """As users type it."""
    options: Any
    """Its settings."""
    function: Any
    """`(backbone, prompts, options, *, stop, sampler, seed, on_token, trace) -> Decoded`."""

    @property
    def policy(self) -> BlockPolicy | None:
        """Blocks of a block method."""
        return self.options.policy() if isinstance(self.options, DiffusionVLDecodeConfig) else None

    def describe(self) -> dict[str, Any]:
        """Name and settings, JSON-able."""
        return {"name": self.name, **to_dict(self.options)}


def choose_method(name: str | None, settings: Settings, given: Mapping[str, Any]) -> Method:
    """Find a decoder and give it its settings: the checkpoint's first, then the user's.

    Args:
        name: `diffusionvl` for converted checkpoints; `ar`, or a lossless decoder of text, for AR ones; None: what the checkpoint was made for.
        settings: of the checkpoint.
        given: the user's settings of the method.

    Raises:
        ConfigError: there is no such decoder, it does not go with the checkpoint, or a setting is unknown, out of range or without
            effect.
    """
    if name is None:
        name = "ar" if settings.diffusion is None else DIFFUSIONVL
    if name == DIFFUSIONVL:
        own = DiffusionVLDecodeConfig.of_settings(settings)
        options = from_dict(DiffusionVLDecodeConfig, {**own, **given}, "decoding")
        if "threshold" in given and options.strategy != "dynamic":
            raise ConfigError(
                "decoding.threshold is given, and the strategy static knows no threshold: add decoding.strategy=dynamic, or drop it"
            )
        return Method(name, options, generate)
    # Their output is that of one token a pass, which any AR model gives; other methods need weights of their own.
    plain = {key: one for key, one in decoders().items() if one.kind == "text" and (one.lossless or key == "ar")}
    if name not in plain:
        raise ConfigError(
            f"there is no method {name!r} for vision-language models; {did_you_mean(name, [DIFFUSIONVL, *plain])}"
        )
    if settings.diffusion is not None:
        raise ConfigError(
            f"the method is {name!r}, which reads the next token off a position, and the checkpoint was trained to denoise each token at its "
            "own: leave method out, or give an autoregressive checkpoint"
        )
    return Method(name, from_dict(resolve(plain[name].options), given, "decoding"), resolve(plain[name].decode))
