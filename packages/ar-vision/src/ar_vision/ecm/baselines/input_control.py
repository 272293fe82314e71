"""The control added to the input tokens of a base: what LoRA and full fine-tuning see of it.

Source: ours.
"""

import torch
from torch import Tensor, nn

from ...backbones.var.config import VarConfig
from ..config import EncoderConfig
from ..controller import EncodedController, Strength

__all__ = ["InputControl"]


class InputControl(EncodedController):
    """x + g r with a gate g, [C], that begins at 0, so that training begins from the base as ECM's does.

    Args:
        encoder: ECM's.
        base: shape of the base.
        image_size: H = W.
        num_kinds: kinds of control.
    """

    leaves_base = False

    def __init__(self, encoder: EncoderConfig, base: VarConfig, image_size: int, num_kinds: int = 1) -> None:
        super().__init__(encoder, base, image_size, num_kinds)
        self.inject_gate = nn.Parameter(torch.zeros(base.width))

    def controlled(self, x: Tensor, features: Tensor, strength: Strength) -> Tensor:
        """Return input tokens with r added.

        Args:
            x: input tokens of the base, [R, n, C].
            features: r, [R, n, C].
            strength: of the control.

        Returns:
            [R, n, C].
        """
        return x + strength * (self.inject_gate * features)
