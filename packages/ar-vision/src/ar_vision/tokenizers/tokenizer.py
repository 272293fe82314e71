"""What backbones, objectives and decoders rely on in a tokenizer.

Source: ours.
"""

from typing import ClassVar, Protocol

from torch import Tensor

from ..scales import ScaleSchedule
from .scale_history import ScaleHistory
from .tokenizer_output import TokenizerOutput

__all__ = ["Tokenizer"]


class Tokenizer(Protocol):
    """Pixels to codes and back.

    Shapes: B rows, H x W pixels, h x w latent cells, Cv code dimension, K scales of L_k codes. Tokenizers of one scale take
    a schedule of one scale.
    """

    kind: ClassVar[str]
    """Name that its checkpoints carry."""

    @property
    def downsampling(self) -> int:
        """Pixels per latent cell, in each direction."""
        ...

    @property
    def code_dim(self) -> int:
        """Cv."""
        ...

    @property
    def vocab_size(self) -> int:
        """V."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Return the features `[B, Cv, h, w]` of images `[B, 3, H, W]` in [-1, 1], before quantisation."""
        ...

    def quantize(self, features: Tensor, schedule: ScaleSchedule) -> list[Tensor]:
        """Return the codes of every scale, int64 `[B, L_k]`, without a gradient."""
        ...

    def history(self, batch: int, schedule: ScaleSchedule) -> ScaleHistory:
        """Return an empty history of ``batch`` rows on the tokenizer's device."""
        ...

    def decode(self, features: Tensor) -> Tensor:
        """Return the images `[B, 3, H, W]` of features `[B, Cv, h, w]`, about in [-1, 1] and not clamped."""
        ...

    def train_forward(self, images: Tensor, schedule: ScaleSchedule) -> TokenizerOutput:
        """Encode, quantise and decode images with gradients."""
        ...
