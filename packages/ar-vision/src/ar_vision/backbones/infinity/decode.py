"""Images from an Infinity: text, guidance and draws of bits, then the tokenizer.

Source: Infinity (arXiv 2412.04431) and its published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from ar_core.errors import ConfigError
from ar_core.masks import Mask
from ar_core.sampling import guide
from torch import Generator, Tensor

from ...checkpoint import require_codes
from ...decoding.generated import GeneratedImages, OnScale
from ...decoding.guidance import guided_logits, guided_passes, require_guidance
from ...decoding.scalewise import PickScale, ScaleBackbone, ScalePasses, generate_scales
from ...scales import ScaleSchedule
from ...text.text import Text
from ...tokenizers.bsq.model import BsqTokenizer
from .bit_sampler import BitDraw, BitSampler
from .model import Infinity
from .text import TextCondition

__all__ = ["InfinityOptions", "InfinityPasses", "generate", "per_scale", "pick_bits"]

ON_LOGITS = 0
"""The entry of ``guidance_layers`` that stands for the logits."""


@dataclass(frozen=True)
class InfinityOptions:
    """How bits are drawn; the defaults are those of the published 2B script.

    Raises:
        ConfigError: a value is out of range.
    """

    guidance: tuple[float, ...] = (4.0,)
    """g (cfg): 1 means none; one for all scales, or one for each."""
    temperature: tuple[float, ...] = (0.5,)
    """tau: 0 is greedy; one for all scales, or one for each."""
    guidance_layers: tuple[int, ...] = (ON_LOGITS,)
    """Where guidance acts (cfg_insertion_layer): 0 on the logits, -1 on the output of the last layer, -2 of the one before."""
    top_k: int | None = None
    """1 is greedy; more changes nothing, since a bit has two values (published: 900)."""
    top_p: float | None = 0.97
    """Force a bit whose rarer value has a probability of at most 1 - p; null forces none."""
    draw: BitDraw = "uniform"
    """``uniform``: one uniform number a bit. ``multinomial``: the published draw of a value, for the bits of a published seed."""

    def __post_init__(self) -> None:
        for name in ("guidance", "temperature", "guidance_layers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; give at least one value")
        for scale in self.guidance:
            require_guidance(scale)
        for temperature in self.temperature:
            BitSampler(temperature, self.top_k, self.top_p, self.draw)
        if any(layer > ON_LOGITS for layer in self.guidance_layers):
            raise ConfigError(
                f"guidance_layers are {list(self.guidance_layers)}; give 0 for the logits, or -1, -2 ... for layers counted "
                "from the last"
            )


class InfinityPasses(ScalePasses):
    """The passes of one generation: the text's keys and values are computed once, and guidance may act inside the transformer.

    Args:
        model: the transformer.
        text: B texts.
        schedule: K scales.
        guidance: g_k of each scale.
        layers: as ``InfinityOptions.guidance_layers``.
        negative: what guidance leads away from, B texts; None: the learned unconditional text, as long as each text is.

    Raises:
        ConfigError: not one guidance a scale, a layer that the model does not have, or another number of negative texts.
        DataError: a text does not fit the model.
    """

    def __init__(
        self,
        model: Infinity,
        text: Text,
        schedule: ScaleSchedule,
        guidance: Sequence[float],
        layers: Sequence[int] = (ON_LOGITS,),
        negative: Text | None = None,
    ) -> None:
        if min(layers) < -model.config.depth:
            raise ConfigError(
                f"guidance_layers names {min(layers)} and the model has {model.config.depth} layers: give 0 for the logits, "
                f"or -1 to -{model.config.depth}"
            )
        if negative is not None and negative.rows != text.rows:
            raise ConfigError(f"{negative.rows} negative texts were given for {text.rows} texts: give one for each")
        device = model.start.device
        text, negative = text.to(device), None if negative is None else negative.to(device)
        for given in (text, negative):
            if given is not None:
                given.check(model.config.texts)
        self.model, self.layers = model, frozenset(layers)
        rows = text
        if guided_passes(guidance):
            rows = text + (text.null(model.null_text) if negative is None else negative)
        self.texts = model.condition(rows)
        pooled = self.texts.pooled
        cache = model.new_cache(rows.rows, schedule.total)
        cache.remember(model.memory(self.texts))
        null = pooled[text.rows :] if rows is not text else None
        # The base runs no layer itself: `hidden` below does, which hands them the texts beside their pooled conditions.
        super().__init__(cast(ScaleBackbone, model), pooled[: text.rows], null, schedule, guidance, cache)

    def hidden(self, x: Tensor, scale: int, mask: Mask | None = None) -> Tensor:
        """Run the layers on the cache; see `ScalePasses.hidden`. Guidance inside acts on the tokens of the scale alone."""
        guidance, own = self.guidance[scale], self.schedule.lengths[scale]
        condition = TextCondition(self.condition, self.texts.memory[: self.rows], self.texts.valid[: self.rows])

        def lead(layer: int, x: Tensor) -> Tensor:
            if layer not in self.layers:
                return x
            conditional, null = x[:, -own:].chunk(2)
            return torch.cat([x[:, :-own], guide(conditional, null, guidance).repeat(2, 1, 1)], dim=1)

        return self.model.hidden(
            x,
            condition,
            scale=scale if mask is None else None,
            schedule=self.schedule,
            cache=self.cache,
            mask=mask,
            after_layer=None if guidance == 1 else lead,
        )

    def guided(self, hidden: Tensor, scale: int) -> Tensor:
        """Return logits [B, L_k, 2 d_v], guided where guidance acts on logits."""
        on_logits = self.guidance[scale] if ON_LOGITS in self.layers else 1.0
        return guided_logits(lambda n: self.model.head(hidden[:n], self.condition[:n]), self.batch, on_logits)


def pick_bits(options: InfinityOptions, schedule: ScaleSchedule) -> PickScale:
    """Return what draws the bits of each scale.

    Raises:
        ConfigError: neither one temperature nor one for each scale.
    """
    temperatures = per_scale("temperature", options.temperature, schedule)
    samplers = [BitSampler(temperature, options.top_k, options.top_p, options.draw) for temperature in temperatures]

    def pick(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        return samplers[scale].pick(logits, generators)

    return pick


@torch.no_grad()
def generate(
    model: Infinity,
    tokenizer: BsqTokenizer,
    text: Text,
    schedule: ScaleSchedule,
    options: InfinityOptions,
    *,
    negative: Text | None = None,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Generate one image for each text.

    The null half runs up to the last guided scale and not at all without guidance; the published sampler keeps it to the end.

    Args:
        model: in eval mode.
        tokenizer: the one that it was trained with, in eval mode.
        text: B texts, of any lengths.
        schedule: one that the model was trained on.
        options: guidance and draws.
        negative: as in :class:`InfinityPasses`.
        seed: as `ar_core.sampling.row_generators` takes it.
        on_scale: called after each scale.

    Returns:
        Images, and their bits, bool [B, L_k, d_v] of each scale.

    Raises:
        CheckpointError: the tokenizer has other bits than the model.
    """
    require_codes(model, tokenizer)
    guidance = per_scale("guidance", options.guidance, schedule)
    passes = InfinityPasses(model, text, schedule, guidance, options.guidance_layers, negative)
    history = tokenizer.history(text.rows, schedule)
    pick = pick_bits(options, schedule)
    bits, stats = generate_scales(passes, history, pick, seed=seed, on_scale=on_scale)
    with stats.timed("pixels"):
        images = tokenizer.decode(history.features).float().clamp(-1, 1)
    return GeneratedImages(images, bits, stats)


def per_scale(name: str, values: tuple[float, ...], schedule: ScaleSchedule) -> tuple[float, ...]:
    """Return one value for each scale, of one for all or one for each.

    Raises:
        ConfigError: it is another number of values.
    """
    if len(values) == 1:
        return values * schedule.count
    if len(values) != schedule.count:
        raise ConfigError(
            f"{name} has {len(values)} values for {schedule.count} scales ({schedule}): give one for all, or one for each"
        )
    return values
