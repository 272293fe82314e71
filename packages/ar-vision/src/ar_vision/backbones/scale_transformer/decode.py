"""Class-conditional generation, scale after scale: what VAR and FlexVAR share.

Source: VAR (arXiv 2404.02905) and its published code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from ar_core.errors import ConfigError
from torch import Tensor, nn

from ...checkpoint import require_codes
from ...decoding.generated import GeneratedImages, OnScale
from ...decoding.guidance import require_guidance
from ...decoding.image_sampler import ImageSampler
from ...decoding.scalewise import PickScale, ScalePasses, generate_scales
from ...scales import ScaleSchedule
from ...tokenizers.scale_history import ScaleHistory
from ...tokenizers.tokenizer import Tokenizer
from ..class_labels import checked_labels
from .model import ScaleTransformer

__all__ = ["ScaleDecoding", "generate_classes"]


@dataclass(frozen=True, kw_only=True)
class ScaleDecoding:
    """How codes are chosen.

    Raises:
        ConfigError: a value is out of range.
    """

    guidance: float = 1.0
    """g: strength of classifier-free guidance; 1 means none, and then the null half is never run. Published code counts from 0:
    its cfg is g - 1. FID settings: VAR 2.5, FlexVAR 3.5."""
    guidance_schedule: Literal["ramp", "constant"] = "ramp"
    """``ramp``: from 1 at the first scale, as published. ``constant``: g at every scale."""
    temperature: float = 1.0
    """0 is greedy."""
    top_k: int | None = None
    """Published for FID: 900."""
    top_p: float | None = None
    """Published for FID: 0.96 (VAR), 0.95 (FlexVAR)."""

    def __post_init__(self) -> None:
        require_guidance(self.guidance)
        if self.guidance_schedule not in ("ramp", "constant"):
            raise ConfigError(f"guidance_schedule is {self.guidance_schedule!r}; choose ramp or constant")
        _ = self.sampler

    @property
    def sampler(self) -> ImageSampler:
        """The sampler of these settings."""
        return ImageSampler(convention="var", temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


@torch.no_grad()
def generate_classes(
    model: ScaleTransformer,
    tokenizer: Tokenizer,
    labels: Tensor | Sequence[int],
    schedule: ScaleSchedule,
    guidance: Sequence[float],
    pick: PickScale,
    history: ScaleHistory | None = None,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Generate one image for each label.

    Args:
        model: the transformer.
        tokenizer: the one that it was trained with, on the same device.
        labels: B classes, int64 [B]; ``num_classes`` stands for none.
        schedule: K scales.
        guidance: g_k of each.
        pick: chooses codes from logits.
        history: an empty one of B rows; None takes the tokenizer's.
        seed: as `ar_core.sampling.row_generators` takes it.
        on_scale: called after each scale.

    Raises:
        DataError: a label is no class.
        CheckpointError: the tokenizer has other codes than the model.
        ConfigError: the model knows no such schedule.
    """
    require_codes(model, cast(nn.Module, tokenizer))
    checked = checked_labels(labels, model.config.num_classes).to(model.device)
    null = model.null_condition(len(checked))
    passes = ScalePasses(model, model.condition(checked), null, schedule, guidance)
    history = tokenizer.history(len(checked), schedule) if history is None else history
    codes, stats = generate_scales(passes, history, pick, seed=seed, on_scale=on_scale)
    with stats.timed("pixels"):
        images = tokenizer.decode(history.features).float().clamp(-1, 1)
    return GeneratedImages(images=images, codes=codes, stats=stats)
