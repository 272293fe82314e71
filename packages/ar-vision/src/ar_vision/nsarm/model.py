"""The two networks of NSARM as one model.

Source: NSARM (arXiv 2510.00820), overview figure.
"""

from typing import ClassVar

from torch import Generator, Tensor, nn

from ..backbones.infinity.model import Infinity
from ..tokenizers.bsq.model import BsqTokenizer
from .config import NsarmModelConfig
from .map_network import MapNetwork
from .prediction import predicted_residuals

__all__ = ["Nsarm"]


class Nsarm(nn.Module):
    """A transformation network that writes the first m scales of an image from a small one, and an Infinity for the others.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "nsarm"

    def __init__(self, config: NsarmModelConfig) -> None:
        super().__init__()
        self.config = config
        self.map = MapNetwork(config.map)
        self.transformer = Infinity(config.transformer)

    def initialize(self, generator: Generator) -> None:
        """Draw all weights afresh."""
        self.map.initialize(generator)
        self.transformer.initialize(generator)

    def residuals(self, tokenizer: BsqTokenizer, low: Tensor) -> list[Tensor]:
        """Return r~_k of LQ images [B, 3, h, w] in [-1, 1]: float32 [B, d, S_k, S_k] of each replaced scale.

        Raises:
            DataError: the images are not of the size that M takes.
        """
        return predicted_residuals(self.map, tokenizer, low, self.config.schedule)
