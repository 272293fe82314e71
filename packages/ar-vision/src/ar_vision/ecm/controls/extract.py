"""From pictures to control maps, kind by kind.

Source: ours.
"""

from collections.abc import Callable

import torch
from ar_core.errors import ConfigError
from torch import Tensor

from .canny import canny, sobel
from .config import ControlConfig
from .detectors import depth_detector, segment_detector
from .normals import normals_of_depth

__all__ = ["Extractor", "extractor_of", "soft_edges"]

Extractor = Callable[[Tensor], Tensor]
"""From pictures uint8 [B, 3, H, W] to maps of the same shape and type."""

_LUMA = (0.299, 0.587, 0.114)


def extractor_of(config: ControlConfig, device: torch.device | str = "cpu") -> Extractor:
    """Return what makes maps of a kind.

    Args:
        config: the kind and its settings.
        device: of a detector.

    Raises:
        ConfigError: the kind needs a detector and there is none, or it cannot be loaded.
        MissingPackageError: it needs transformers, which is not installed.
    """
    if config.kind == "canny":
        return lambda images: canny(images, config.low, config.high).expand(-1, 3, -1, -1)
    if config.kind == "edges":
        return soft_edges
    if config.detector is None:
        raise ConfigError(
            f"maps of the kind {config.kind!r} are made by a model: give maps, or a detector, the folder of one in Hugging Face layout"
        )
    if config.kind == "segmentation":
        return segment_detector(config.detector, device)
    depth = depth_detector(config.detector, device)
    return depth if config.kind == "depth" else lambda images: normals_of_depth(depth(images))


def soft_edges(images: Tensor) -> Tensor:
    """Return how steep the luma of pictures is: the length of the Sobel gradient over 4, which a step from black to white brings to 255.

    Args:
        images: uint8 [B, 3, H, W].

    Returns:
        uint8 [B, 3, H, W], three equal channels.
    """
    luma = (images.float() * images.new_tensor(_LUMA, dtype=torch.float32).view(1, 3, 1, 1)).sum(1, keepdim=True)
    dx, dy = sobel(luma)
    return ((dx**2 + dy**2).sqrt() / 4).clamp(0, 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
