"""The patch discriminator of adversarial tokenizers, and the losses of its game (arXiv 1611.07004, 2012.09841)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from ar_core.config import require_positive
from ar_core.errors import ConfigError
from torch import Tensor, nn

__all__ = ["AdversarialLoss", "DiscriminatorConfig", "PatchDiscriminator", "discriminator_loss", "generator_loss"]

AdversarialLoss: TypeAlias = Literal["hinge", "vanilla"]
"""``hinge``: margins of 1 for the discriminator, plain logits for the generator. ``vanilla``: binary cross-entropy,
non-saturating for the generator."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of the patch discriminator; the defaults are those of VQGAN and LlamaGen but for the normalisation.

    Raises:
        ConfigError: A value is out of range, or the groups do not divide a width.
    """

    channels: int = 64
    """Width behind the first convolution; it doubles with every layer, up to 8 times."""
    layers: int = 3
    """Convolutions of stride 2. A logit sees 70 pixels with 3, 34 with 2, 16 with 1: take 2 or 1 for images of 32 pixels."""
    norm: Literal["group", "batch", "none"] = "group"
    """``group`` treats every image on its own. ``batch`` (the published choice) uses the statistics of a forward pass, real
    and reconstructed images apart: the result then depends on how a step is split into micro-batches and ranks."""
    groups: int = 8
    """Groups of a GroupNorm."""

    def __post_init__(self) -> None:
        require_positive(self, "channels", "layers", "groups")
        if self.norm == "group" and self.channels % self.groups:
            raise ConfigError(
                f"groups {self.groups} do not divide the {self.channels} channels of the discriminator; choose channels or "
                "groups so that they do"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels behind each convolution but the last."""
        return tuple(self.channels * min(2**layer, 8) for layer in range(self.layers + 1))

    @property
    def smallest(self) -> int:
        """Pixels of the shortest side that leave one logit."""
        # Two convolutions of side 4, stride 1 and padding 1 take a cell each.
        return int(3 * 2**self.layers)


class PatchDiscriminator(nn.Module):
    """Convolutions that say of every patch of an image whether it is real: high logits for real ones.

    Args:
        config: the shape.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        layers: list[nn.Module] = [_convolution(3, widths[0], 2), nn.LeakyReLU(0.2)]
        for place, (before, width) in enumerate(pairwise(widths), start=1):
            stride = 2 if place < config.layers else 1
            norm = _norm(config, width)
            bias = not isinstance(norm, nn.BatchNorm2d)
            layers += [_convolution(before, width, stride, bias=bias), norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, _convolution(widths[-1], 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `[B, 1, h, w]` of the patches of images, float `[B, 3, H, W]` in [-1, 1]."""
        out: Tensor = self.layers(images)
        return out

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights afresh: convolutions from N(0, 0.02²), the scales of normalisations from N(1, 0.02²).

        Args:
            generator: of the device that the weights are on.
        """
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, 0.0, 0.02, generator=generator)
            elif isinstance(part, (nn.GroupNorm, nn.BatchNorm2d)):
                nn.init.normal_(part.weight, 1.0, 0.02, generator=generator)
            else:
                continue
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def discriminator_loss(kind: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss of each pair of a real and a reconstructed image, averaged over patches.

    Args:
        kind: the game.
        real: logits `[B, 1, h, w]` of real images.
        fake: logits `[B, 1, h, w]` of reconstructions.

    Returns:
        float32 `[B]`.
    """
    real, fake = real.float(), fake.float()
    penalty = _below_margin if kind == "hinge" else F.softplus
    parts = penalty(-real) + penalty(fake)
    return parts.flatten(1).mean(1) / 2


def generator_loss(kind: AdversarialLoss, fake: Tensor) -> Tensor:
    """Return the tokenizer's loss of each reconstruction, averaged over patches: float32 `[B]` from logits `[B, 1, h, w]`."""
    fake = fake.float()
    return (-fake if kind == "hinge" else F.softplus(-fake)).flatten(1).mean(1)


def _below_margin(wrong: Tensor) -> Tensor:
    return F.relu(1 + wrong)


def _convolution(before: int, width: int, stride: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, width, 4, stride=stride, padding=1, bias=bias)


def _norm(config: DiscriminatorConfig, width: int) -> nn.Module:
    if config.norm == "group":
        return nn.GroupNorm(config.groups, width)
    if config.norm == "batch":
        # Without running averages, which would differ between ranks and which nothing reads.
        return nn.BatchNorm2d(width, track_running_stats=False)
    return nn.Identity()
