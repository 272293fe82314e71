"""VAR (arXiv 2404.02905): next-scale prediction over residual scales."""

from typing import ClassVar

import torch
from ar_core.errors import ConfigError
from torch import Generator, Tensor, nn

from ...scales import ScaleSchedule
from ..scale_transformer.model import ScaleTransformer
from .config import VarConfig

__all__ = ["Var"]


class Var(ScaleTransformer):
    """The VAR transformer: learned positions of one schedule and an embedding for each scale.

    Its inputs are the features that all earlier scales add up to (`ar_vision.tokenizers.var_vqvae`).

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "var"

    def __init__(self, config: VarConfig) -> None:
        super().__init__(config)
        self.config: VarConfig = config
        self.schedule = ScaleSchedule.square(*config.scales)
        self.positions = nn.Parameter(torch.zeros(1, self.schedule.total, config.width))
        self.scale_embedding = nn.Embedding(self.schedule.count, config.width)

    def positions_of(self, scale: int, schedule: ScaleSchedule) -> Tensor:
        """Return positions and scale embedding, [1, L_k, C].

        Raises:
            ConfigError: the schedule is not the one of the model.
        """
        if schedule != self.schedule:
            raise ConfigError(
                f"the scales {schedule} were asked of a VAR that was made for {self.schedule}, to which its positions are "
                "tied: use these, or a FlexVAR, which takes any"
            )
        return self.positions[:, schedule.slices[scale]] + self.scale_embedding.weight[scale]

    def initialize_positions(self, std: float, generator: Generator) -> None:
        """Draw positions; the scale embedding is drawn with all embeddings."""
        nn.init.trunc_normal_(self.positions, std=std, generator=generator)
