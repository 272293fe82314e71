"""An output head that is one matrix, so that losses need not hold what it gives."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CALLED_LOGITS", "LinearHead"]

CALLED_LOGITS = 2**26
"""Most logits that losses hold at once of a head that they can only call, unless told: 256 MiB in float32."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits cap tanh(scale h W^T / cap), or scale h W^T without a cap.

    Losses know it from other heads, which they can only call.
    """

    weight: Tensor
    """W [V, C]."""
    scale: float = 1.0
    """Factor of the logits."""
    cap: float | None = None
    """Bound of the logits."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., C]."""
        logits = F.linear(hidden, self.weight) * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def operands(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states `[..., C]` and matrix `[V, C]` in the one dtype that they are multiplied in; of autocast, where
        that is on.
        """
        device = hidden.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            return hidden.to(dtype), self.weight.to(dtype)
        return hidden, self.weight.to(hidden.dtype)
