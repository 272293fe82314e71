"""Generation under control, scale after scale.

Source: ECM (arXiv 2510.05610): lower temperatures at late scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from ar_core.errors import ConfigError, DataError
from torch import Generator, Tensor, nn

from ..backbones.class_labels import checked_labels
from ..backbones.scale_transformer.decode import ScaleDecoding
from ..backbones.var.decode import VarDecoding, guidance_of
from ..backbones.var.model import Var
from ..checkpoint import require_codes
from ..decoding.generated import GeneratedImages, OnScale
from ..decoding.guidance import require_guidance
from ..decoding.image_sampler import ImageSampler
from ..decoding.scalewise import generate_scales
from ..tokenizers.tokenizer import Tokenizer
from .config import require_choice
from .controlled import ControlledVar, ControlPasses, active_span
from .controller import Controller
from .temperature import TemperatureShape, require_shape, temperatures

__all__ = ["ControlDecoding", "generate"]

WithoutControl = Literal["null", "base"]


@dataclass(frozen=True, kw_only=True)
class ControlDecoding(ScaleDecoding):
    """How codes are chosen; ``temperature`` is that of the first scale, T_high.

    Raises:
        ConfigError: a value is out of range.
    """

    guidance: float = 2.5
    """g, by the class; 1 means none. VAR's metric setting."""
    top_k: int | None = 900
    """VAR's and CAR's setting."""
    top_p: float | None = 0.96
    """VAR's setting."""
    late_temperature: float = 0.8
    """T_low, of the last scale (published 0.8, with 1.0 at first); as ``temperature``: VAR's sampling."""
    temperature_shape: TemperatureShape = "linear"
    """How one becomes the other: ``linear``, ``cosine`` or ``step``."""
    step_at: int | None = None
    """``step``: first scale of the late temperature, from 0; null: the middle."""
    control_guidance: float = 1.0
    """w: guidance by the control (ours), with a third row an image, of neither class nor control; 1 means none."""
    without_control: WithoutControl = "null"
    """What that row has: ``null``, the null control, which ``control_dropout`` trains; ``base``, nothing injected, for controllers that
    were trained without it."""
    strength: float = 1.0
    """s: what is injected, in units of what was trained; 0 is the base."""
    active_scales: tuple[int, int] | None = None
    """First and last scale that are controlled, from 0; null: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_guidance(self.control_guidance, "control_guidance")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength is {self.strength}; it must lie in [0, 1], and 0 is the base")
        require_choice("without_control", self.without_control, WithoutControl)
        if self.without_control == "base" and self.control_guidance == 1:
            raise ConfigError(
                "without_control is 'base' and there is no guidance by the control: give control_guidance, or leave it out"
            )
        _ = replace(self.sampler, temperature=self.late_temperature)
        require_shape(self.temperature_shape, self.step_at)

    def require_scales(self, count: int) -> None:
        """Refuse settings that name scales which a base of K does not have.

        Raises:
            ConfigError: ``step_at`` or ``active_scales`` do.
        """
        _ = self.samplers(count)
        active_span(self.active_scales, count)

    def samplers(self, count: int) -> list[ImageSampler]:
        """Return what draws the codes of each of K scales.

        Raises:
            ConfigError: ``step_at`` is none of them.
        """
        warm = temperatures(self.temperature, self.late_temperature, self.temperature_shape, count, self.step_at)
        return [replace(self.sampler, temperature=one) for one in warm]


@torch.no_grad()
def generate(
    base: Var,
    controller: Controller,
    tokenizer: Tokenizer,
    maps: Tensor,
    labels: Tensor | Sequence[int] | None = None,
    options: ControlDecoding | None = None,
    *,
    kinds: Tensor | None = None,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Generate one image for each control map, in K forward passes.

    What is said to tokens by their maps is computed once, before the first.

    Args:
        base: in eval mode.
        controller: trained on it, in eval mode, on the same device.
        tokenizer: the one that the base was trained with.
        maps: [B, 3, H, W] in [-1, 1].
        labels: B classes, int64 [B]; ``num_classes`` stands for none; None: none of all.
        options: how codes are chosen; None takes the defaults.
        kinds: int64 [B], of which kind each map is; None: all of the first.
        seed: as `ar_core.sampling.row_generators` takes it.
        on_scale: called after each scale.

    Raises:
        DataError: a label is no class, or there is not one for each map; maps are none.
        CheckpointError: the tokenizer has other codes than the base.
        ConfigError: active scales, or the step of the temperature, are none.
    """
    options = options or ControlDecoding()
    require_codes(base, cast(nn.Module, tokenizer))
    none = [base.config.num_classes] * len(maps)
    checked = checked_labels(none if labels is None else labels, base.config.num_classes).to(base.device)
    if len(checked) != len(maps):
        raise DataError(f"{len(checked)} labels and {len(maps)} control maps were given: give one label for each map")
    count = base.schedule.count
    samplers = options.samplers(count)
    maps = maps.to(base.device, base.start.dtype)
    features, null = controller.features(maps, tokenizer, kinds=kinds), None
    if options.control_guidance != 1 and options.without_control == "null":
        null = controller.features(maps[:1], tokenizer, dropped=torch.ones(1, dtype=torch.bool, device=maps.device))
    transformer = controller.transformer(base)
    controlled = ControlledVar(
        base, controller, features, strength=options.strength, active=options.active_scales, null=null
    )
    guided = VarDecoding(guidance=options.guidance, guidance_schedule=options.guidance_schedule)
    passes = ControlPasses(
        controlled,
        transformer.condition(checked),
        transformer.null_condition(len(checked)),
        guidance_of(guided, count),
        options.control_guidance,
    )

    def pick(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        return samplers[scale].pick(logits, generators)

    history = tokenizer.history(len(checked), base.schedule)
    codes, stats = generate_scales(passes, history, pick, seed=seed, on_scale=on_scale)
    with stats.timed("pixels"):
        images = tokenizer.decode(history.features).float().clamp(-1, 1)
    return GeneratedImages(images=images, codes=codes, stats=stats)
