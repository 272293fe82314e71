"""A vision-language model as objectives and decoders see it: a language model, and features of images in its embedding space."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.hf import HFBackbone
from torch import Tensor, nn

from .images.config import ImageConfig
from .images.inputs import ImageLayout
from .images.processor import ImageProcessor
from .model_config import Part

__all__ = ["ImageFeatures", "VisionLanguageModel"]


@dataclass(frozen=True)
class ImageFeatures:
    """Features of the images of a batch, one image after another; N tokens in all, C as the language model."""

    rows: Tensor
    """[N, C], what stands in the place of embeddings."""
    deepstack: tuple[Tensor, ...] = ()
    """[N, C] each, what is added to the hidden states of these tokens behind the first, second, ... layer (Qwen3-VL)."""


class VisionLanguageModel(nn.Module, ABC):
    """Unmodified transformers models, and what joins them.

    `language` is what :class:`ar_core.hf.HFBackbone` takes: a causal LM (or a whole vision-language model of transformers, whose
    decoder and head are used), possibly wrapped by peft.
    """

    language: nn.Module
    """The decoder that reads text and images."""
    takes_mrope: bool
    """Whether the decoder takes three-part positions."""

    def __init__(self) -> None:
        super().__init__()
        self._frozen: list[nn.Module] = []

    @property
    @abstractmethod
    def tower(self) -> nn.Module:
        """The vision encoder; on route 1 the merger is a part of it as well as the connector."""

    @property
    @abstractmethod
    def connector(self) -> nn.Module:
        """What maps features of the tower to embeddings."""

    @abstractmethod
    def processor(self, config: ImageConfig) -> ImageProcessor:
        """From pictures to what `image_features` takes.

        Raises:
            ConfigError: the fit does not suit the tower.
        """

    @abstractmethod
    def image_features(self, pixels: Tensor, layouts: Sequence[ImageLayout]) -> ImageFeatures:
        """Features of images.

        Args:
            pixels: of all images one after another, see :class:`dvlm.images.inputs.ImageInput`.
            layouts: of each; its `tokens` say how many rows are the image's.
        """

    @property
    def backbone(self) -> HFBackbone:
        """The language model as decoders and objectives drive it; a light view."""
        return HFBackbone(self.language)

    @property
    def base_language(self) -> Any:
        """The transformers model below adapters."""
        language: Any = self.language
        return language.get_base_model() if hasattr(language, "get_base_model") else language

    def embed(self, ids: Tensor, image_rows: Tensor, features: ImageFeatures | None) -> tuple[Tensor, dict[str, Any]]:
        """Embeddings of a batch, with image features in their places.

        Args:
            ids: int64 [B, n]; not read where an image stands.
            image_rows: int64 [B, n], row of `features` that stands there, or -1 for text.
            features: of the batch's images; None where there are none.

        Returns:
            [B, n, C], and further inputs of the decoder (`more` of :meth:`ar_core.hf.HFBackbone.hidden`).
        """
        is_image = image_rows >= 0
        embeds = self.backbone.embed(ids.masked_fill(is_image, 0))
        if features is None:
            return embeds, {}
        rows = image_rows[is_image]
        embeds = embeds.clone()
        embeds[is_image] = features.rows[rows].to(embeds.dtype)
        if not features.deepstack:
            return embeds, {}
        return embeds, {
            "visual_pos_masks": is_image,
            "deepstack_visual_embeds": [layer[rows].to(embeds.dtype) for layer in features.deepstack],
        }

    def train_only(self, trained: Iterable[Part]) -> None:
        """Freeze the parts that are not named; frozen parts stay in eval mode. Adapters keep their base frozen.

        Args:
            trained: of tower, connector and language.
        """
        chosen = set(trained)
        connector = {id(parameter) for parameter in self.connector_parameters()}
        tower = {id(parameter) for parameter in self.tower.parameters()} - connector
        adapted = self.language is not self.base_language
        for parameter in self.parameters():
            if id(parameter) in connector:
                parameter.requires_grad_("connector" in chosen)
            elif id(parameter) in tower:
                parameter.requires_grad_("tower" in chosen)
            elif "language" not in chosen:
                parameter.requires_grad_(False)
            elif not adapted:
                parameter.requires_grad_(True)
        self._frozen = [] if "tower" in chosen else [self.tower]
        self.train(self.training)

    def connector_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that count as the connector's."""
        return self.connector.parameters()

    def train(self, mode: bool = True) -> "VisionLanguageModel":
        """Set train or eval mode; a frozen tower stays in eval mode, so that its batch norms do not move."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Device of the embeddings."""
        return self.backbone.device
