"""FlexVAR (arXiv 2502.20313): next-scale prediction without residuals, over any schedule."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...scales import ScaleSchedule
from ..scale_transformer.model import ScaleTransformer
from .config import FlexVarConfig

__all__ = ["FlexVar", "sine_map"]


class FlexVar(ScaleTransformer):
    """The FlexVAR transformer: one learned map of positions, resized by area to the grid of each scale.

    Its input is the previous scale alone (`ar_vision.tokenizers.vq`); what came before that is seen through attention.
    Grids finer than the map repeat its cells.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "flexvar"

    def __init__(self, config: FlexVarConfig) -> None:
        super().__init__(config)
        self.config: FlexVarConfig = config
        self.positions = nn.Parameter(torch.zeros(1, config.width, config.position_side, config.position_side))

    def positions_of(self, scale: int, schedule: ScaleSchedule) -> Tensor:
        """Return the map on the grid of a scale, [1, L_k, C]; no schedule is refused."""
        return F.interpolate(self.positions, size=schedule.sizes[scale], mode="area").flatten(2).transpose(1, 2)

    def initialize_positions(self, std: float, generator: Generator) -> None:
        """Set the map to sines; nothing is drawn."""
        side = self.config.position_side
        self.positions.copy_(sine_map(self.config.width, side, side))


def sine_map(channels: int, height: int, width: int) -> Tensor:
    """Return the map that positions start from, float32 [1, C, H, W].

    Channel 2j is sin(y w_j) and channel 2j+1 cos(x w_j), with w_j = 10000^(-2j / C).
    """
    frequencies = 10000 ** (-torch.arange(0, channels, 2) / channels)
    y = torch.arange(height)[None, :, None] * frequencies[:, None, None]
    x = torch.arange(width)[None, None, :] * frequencies[:, None, None]
    pairs = torch.stack([y.sin().expand(-1, height, width), x.cos().expand(-1, height, width)], dim=1)
    return pairs.flatten(0, 1)[:channels][None]
