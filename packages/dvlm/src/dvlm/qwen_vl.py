"""Route 1: Qwen2.5-VL and Qwen3-VL of transformers, as they are."""

from collections.abc import Sequence
from typing import Any

import torch
from ar_core.errors import UnsupportedModelError
from ar_core.hf import IMPLEMENTATION, LoraConfig, add_lora, register
from torch import Tensor, nn
from transformers import PreTrainedModel

from .images.config import ImageConfig
from .images.inputs import ImageLayout
from .images.processor import CLIP_MEAN, CLIP_STD, PatchProcessor
from .model import ImageFeatures, VisionLanguageModel

__all__ = ["FAMILIES", "QwenVL"]

FAMILIES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "qwen2_5_vl": (CLIP_MEAN, CLIP_STD),
    "qwen3_vl": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Model types that are supported, with mean and standard deviation of their pixels."""


class QwenVL(VisionLanguageModel):
    """A vision-language model whose decoder is driven through our attention; its tower keeps its own.

    Args:
        model: `Qwen2_5_VLForConditionalGeneration` or `Qwen3VLForConditionalGeneration`.

    Raises:
        UnsupportedModelError: another architecture.
    """

    takes_mrope = True

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        kind = model.config.model_type
        if kind not in FAMILIES:
            raise UnsupportedModelError(
                f"the vision-language model has type {kind!r}, which is not supported: give one of {', '.join(FAMILIES)}, or put a "
                "language model and a tower together"
            )
        register()
        model.set_attn_implementation({"text_config": IMPLEMENTATION})
        self.language = model

    def adapt(self, lora: LoraConfig, seed: int) -> None:
        """Put adapters on the linear layers of the decoder; tower, connector and head are left alone."""
        base = self.base_language
        decoder = base.get_decoder()
        prefix = next(name for name, module in base.named_modules() if module is decoder)
        targets = [f"{prefix}.{name}" for name, module in decoder.named_modules() if isinstance(module, nn.Linear)]
        self.language = add_lora(base, lora, seed, targets)

    @property
    def tower(self) -> nn.Module:
        """The vision transformer, its merger included."""
        out: nn.Module = self.base_language.model.visual
        return out

    @property
    def connector(self) -> nn.Module:
        """The patch merger and, of Qwen3-VL, the mergers of deepstack features."""
        tower: Any = self.tower
        return nn.ModuleList([tower.merger, *getattr(tower, "deepstack_merger_list", ())])

    def processor(self, config: ImageConfig) -> PatchProcessor:
        """Patches of the tower's size."""
        vision = self.base_language.config.vision_config
        mean, std = FAMILIES[self.base_language.config.model_type]
        return PatchProcessor(
            config,
            patch=vision.patch_size,
            merge=vision.spatial_merge_size,
            frames=vision.temporal_patch_size,
            mean=mean,
            std=std,
        )

    def image_features(self, pixels: Tensor, layouts: Sequence[ImageLayout]) -> ImageFeatures:
        """Merged features in raster order; pixels are patches [sum of patches, 3 · time · p · p]."""
        tower: Any = self.tower
        grid = torch.tensor([[1, *layout.patches] for layout in layouts], device=pixels.device)
        found = tower(pixels.to(tower.dtype), grid_thw=grid)
        return ImageFeatures(found.pooler_output, tuple(getattr(found, "deepstack_features", None) or ()))
