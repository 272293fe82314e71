"""Route 2: any causal language model and any vision tower, with a connector between them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ar_core.errors import ConfigError
from ar_core.hf.build import seeded
from torch import Tensor, nn

from .images.config import ImageConfig
from .images.inputs import ImageLayout
from .images.processor import CropProcessor
from .model import ImageFeatures, VisionLanguageModel
from .towers import Connector, ConnectorConfig, Tower
from .towers.connector import anyres_tokens, pooled

__all__ = ["AssembledVL"]


class AssembledVL(VisionLanguageModel):
    """A language model, a tower, a connector and, for any-resolution pictures, a newline vector.

    Args:
        language: a causal LM of transformers, possibly wrapped by peft.
        tower: the vision tower.
        config: of the connector.
        seed: of the connector's fresh weights; the global generator is left as it was.

    Raises:
        ConfigError: the pool does not divide the tower's features.
    """

    takes_mrope = False

    def __init__(self, language: nn.Module, tower: Tower, config: ConnectorConfig, *, seed: int = 0) -> None:
        super().__init__()
        if tower.features % config.pool:
            raise ConfigError(
                f"connector.pool is {config.pool} and does not divide the tower's {tower.features} features a side: choose a divisor"
            )
        self.language = language
        self.vision_tower = tower
        self.config = config
        text: Any = self.base_language.config.get_text_config()
        with seeded(seed):
            self.mm_projector = Connector(config, tower.width, text.hidden_size)
            # Normal with standard deviation 1 / sqrt(C), as published.
            self.image_newline = (
                nn.Parameter(torch.randn(text.hidden_size) / text.hidden_size**0.5) if config.newline else None
            )

    @property
    def tower(self) -> Tower:
        """The vision tower."""
        return self.vision_tower

    @property
    def connector(self) -> Connector:
        """What maps features of the tower to embeddings of the language model."""
        return self.mm_projector

    def connector_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the connector, and the newline vector."""
        return [*self.mm_projector.parameters(), *([] if self.image_newline is None else [self.image_newline])]

    def processor(self, config: ImageConfig) -> CropProcessor:
        """Crops of the tower's size."""
        tower = self.vision_tower
        return CropProcessor(
            config,
            side=tower.side,
            features=tower.features // self.config.pool,
            newline=self.image_newline is not None,
            mean=tower.mean,
            std=tower.std,
        )

    def image_features(self, pixels: Tensor, layouts: Sequence[ImageLayout]) -> ImageFeatures:
        """Features in reading order; pixels are crops [sum of crops, 3, S, S]."""
        weight: Any = self.mm_projector[0].weight
        features = pooled(self.vision_tower(pixels), self.config.pool).to(weight.dtype)
        projected = self.mm_projector(features)
        rows = []
        for crops, layout in zip(projected.split([layout.units for layout in layouts]), layouts):
            if layout.map is None:
                rows.append(crops.flatten(0, 1))
            else:
                rows.append(anyres_tokens(crops, layout.map, self.image_newline))
        return ImageFeatures(torch.cat(rows))
