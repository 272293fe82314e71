"""What students have beside their teacher's layers: the mark of noise and data, and the head that predicts code vectors.

B images, m tokens, C width, Cv code dimension.

Source: Distilled Decoding (arXiv 2412.17153) and its published code.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from .student_config import NoiseDataEmbedding

__all__ = ["ContinuousHead", "NoiseData"]


class NoiseData(nn.Module):
    """Two vectors, of noise (row 0) and of data (row 1), and a linear layer of them for each layer and for the heads.

    The published code adds those of a layer between its attention and its feed-forward part.

    Args:
        width: C.
        layers: of the student.
        config: where they are added.
    """

    def __init__(self, width: int, layers: int, config: NoiseDataEmbedding) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(2, width)
        self.layerwise = nn.ModuleList(nn.Linear(width, width) for _ in range(layers + 1 if config.layerwise else 0))

    def at_input(self, x: Tensor, clean: Tensor) -> Tensor:
        """Mark what enters the first layer; x [B, m, C], clean bool [B, m] or [m]."""
        return x + self.table(clean.long()) if self.config.input else x

    def inside(self, layer: int, clean: Tensor) -> Tensor | None:
        """Return what is added in a layer, behind its attention, [B, m, C]; the number behind the last layer stands for the heads."""
        if not self.config.layerwise:
            return None
        # There are two vectors, however many tokens.
        return F.embedding(clean.long(), self.layerwise[layer](self.table.weight))

    def at_heads(self, x: Tensor, clean: Tensor) -> Tensor:
        """Mark what enters the heads, x [B, m, C], which is clean, bool [B, m] or [m], or not; [B, m, C]."""
        added = self.inside(len(self.layerwise) - 1, clean)
        return x if added is None else x + added

    @torch.no_grad()
    def initialize(self, std: float, generator: Generator) -> None:
        """Draw the two vectors; the linear layers begin at zero, so that a student begins as its teacher's layers."""
        nn.init.trunc_normal_(self.table.weight, std=std, generator=generator)
        for parameter in self.layerwise.parameters():
            nn.init.zeros_(parameter)


class ContinuousHead(nn.Module):
    """A layer norm without weights, shift and scale that are two learned vectors plus the condition, and a linear layer.

    Args:
        width: C.
        code_dim: Cv.
    """

    def __init__(self, width: int, code_dim: int) -> None:
        super().__init__()
        self.shift_and_scale = nn.Parameter(torch.zeros(2, width))
        self.linear = nn.Linear(width, code_dim)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Return code vectors [B, m, Cv], float32 or better, of hidden states [B, m, C] under a condition each, [B, C]."""
        with torch.autocast(hidden.device.type, enabled=False):
            wide = torch.promote_types(self.linear.weight.dtype, torch.float32)
            shift, scale = (self.shift_and_scale.to(wide) + condition.to(wide)[:, None]).unbind(1)
            normed = F.layer_norm(hidden.to(wide), hidden.shape[-1:], eps=1e-6)
            modulated = normed * (1 + scale[:, None]) + shift[:, None]
            return F.linear(modulated, self.linear.weight.to(wide), self.linear.bias.to(wide))

    @torch.no_grad()
    def initialize(self, std: float, generator: Generator) -> None:
        """Draw fresh weights: modulation C^-1/2, as published code for such heads does, and small outputs."""
        width = self.linear.in_features
        self.shift_and_scale.normal_(std=width**-0.5, generator=generator)
        nn.init.trunc_normal_(self.linear.weight, std=std, generator=generator)
        nn.init.zeros_(self.linear.bias)
