"""Hyperparameters of training an image tokenizer."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ar_core.errors import ConfigError

from ...scales import ScaleSchedule
from .discriminator import AdversarialLoss, DiscriminatorConfig
from .usage import UsageConfig

__all__ = ["TokenizerTrainingConfig"]


@dataclass(frozen=True)
class TokenizerTrainingConfig:
    """The losses of a tokenizer; the defaults are those of LlamaGen (arXiv 2406.06525, section 3.1 and its code).

    VAR's loss is of the same form and was never published with a recipe; FlexVAR uses LlamaGen's code. A weight of 0 leaves
    a term out.

    Raises:
        ConfigError: A value is out of range or contradicts another.
    """

    scales: tuple[int | tuple[int, int], ...]
    """Grids that images are quantised on, coarsest first: sides, or pairs of height and width. One for VQ, several for
    residual and multi-scale tokenizers; the last is the size of the latent features."""
    schedules: Literal["one_scale"] | None = None
    """null: every step quantises images on all ``scales``. ``one_scale``: every step draws one of them, quantises images on that grid
    alone and compares what is decoded with the images resized to it by area, so that every grid decodes to a picture of its own
    size. FlexVAR (arXiv 2502.20313) trains its tokenizer on several resolutions of the latent features; its training code was not
    released, so that drawing and resizing are ours. Only for tokenizers of independent scales (kind ``vq``)."""
    pixel: Literal["l1", "l2"] = "l2"
    """Absolute or squared difference of pixels in [-1, 1]."""
    pixel_weight: float = 1.0
    """Of the mean difference of an image's pixels."""
    perceptual_weight: float = 1.0
    """Of LPIPS."""
    lpips: str | None = None
    """File of LPIPS with AlexNet features in safetensors layout; ``~`` and ``$NAME`` are expanded. Needed where
    ``perceptual_weight`` is not 0."""
    lpips_minimum_size: int = 64
    """Smaller images are enlarged to this for LPIPS. 64: the size it was fitted at; 32 takes images of 32 pixels as they are,
    at a fifth of the time."""
    adversarial_weight: float = 0.5
    """Of the discriminator's verdict on the tokenizer. The discriminator's own loss has factor 1 (LlamaGen's code: this weight too,
    which AdamW does not notice)."""
    adversarial_start_step: int = 20_000
    """Number of the optimiser step, from 0, from which tokenizer and discriminator play; before it neither sees the other."""
    adversarial_loss: AdversarialLoss = "hinge"
    """The game."""
    adaptive_weight: bool = False
    """Multiply ``adversarial_weight`` by VQGAN's ratio of gradients."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """Shape of the discriminator."""
    discriminator_lr: float | None = None
    """Its peak learning rate; null takes that of the tokenizer."""
    code_weight: float = 1.0
    """Of |sg(z) - e|², which moves codes towards features."""
    commit_weight: float = 0.25
    """beta, of |z - sg(e)|², which keeps features near their codes."""
    usage: UsageConfig | None = field(default_factory=UsageConfig)
    """Usage meter of the codebook and revival of its unused codes; null for tokenizers without a codebook."""

    def __post_init__(self) -> None:
        self.schedule  # noqa: B018
        for name in ("pixel_weight", "perceptual_weight", "adversarial_weight", "code_weight", "commit_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}, but must be at least 0: give 0 to leave the term out")
        if not self.pixel_weight and not self.perceptual_weight:
            raise ConfigError(
                "pixel_weight and perceptual_weight are both 0, so that nothing compares images with their reconstructions; "
                "raise one of them"
            )
        if self.adversarial_start_step < 0:
            raise ConfigError(f"adversarial_start_step is {self.adversarial_start_step}, but must be at least 0")
        if self.perceptual_weight and self.lpips is None:
            raise ConfigError(
                f"perceptual_weight is {self.perceptual_weight} and lpips names no file; give the LPIPS weights as "
                "safetensors, or set perceptual_weight to 0"
            )
        if self.adaptive_weight and not self.adversarial_weight:
            raise ConfigError(
                "adaptive_weight is true and adversarial_weight is 0, which it multiplies; raise it or drop adaptive_weight"
            )
        if self.discriminator_lr is not None and not self.discriminator_lr > 0:
            raise ConfigError(f"discriminator_lr is {self.discriminator_lr}, but must be positive, or null")

    @property
    def schedule(self) -> ScaleSchedule:
        """The scales as a schedule."""
        return ScaleSchedule.of(self.scales)

    @property
    def choices(self) -> tuple[ScaleSchedule, ...]:
        """Schedules of which a step takes one, the finest last."""
        if self.schedules is None:
            return (self.schedule,)
        return tuple(ScaleSchedule((size,)) for size in self.schedule.sizes)

    @property
    def coefficients(self) -> dict[str, float]:
        """Factor of every loss term that is not left out."""
        factors = {
            "pixel": self.pixel_weight,
            "perceptual": self.perceptual_weight,
            "code": self.code_weight,
            "commit": self.commit_weight,
            "adversarial": self.adversarial_weight,
            "discriminator": 1.0 if self.adversarial_weight else 0.0,
        }
        return {term: factor for term, factor in factors.items() if factor}
