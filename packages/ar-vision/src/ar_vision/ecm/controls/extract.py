"""From pictures to control maps, kind by kind."""

from collections.abc import Callable
from typing import Any

import torch
from ar_core.errors import ConfigError, MissingPackageError
from torch import Tensor

from .canny import canny, sobel
from .config import ControlConfig
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
        return _segmenter(config.detector, device)
    depth = _depth(config.detector, device)
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


def _depth(folder: str, device: torch.device | str) -> Extractor:
    processor, model = _detector(folder, "AutoModelForDepthEstimation", device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        found = model(**processor(images=list(images.cpu()), return_tensors="pt").to(device)).predicted_depth
        depth = torch.nn.functional.interpolate(
            found[:, None].float(), size=images.shape[2:], mode="bicubic", align_corners=False
        )
        # The usual convention of depth maps: nearest is white, and each picture has its whole range.
        low, high = depth.amin((1, 2, 3), keepdim=True), depth.amax((1, 2, 3), keepdim=True)
        scaled = (depth - low) / (high - low).clamp(min=1e-6)
        return (scaled * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).cpu()

    return extract


def _segmenter(folder: str, device: torch.device | str) -> Extractor:
    processor, model = _detector(folder, "AutoModelForSemanticSegmentation", device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        found = model(**processor(images=list(images.cpu()), return_tensors="pt").to(device)).logits
        scores = torch.nn.functional.interpolate(
            found.float(), size=images.shape[2:], mode="bilinear", align_corners=False
        )
        return _colours(scores.argmax(1)).cpu()

    return extract


def _colours(classes: Tensor) -> Tensor:
    """One colour for each class, uint8 [B, 3, H, W] of int64 [B, H, W]: the bits of its number, dealt out to the three channels."""
    channels = torch.zeros(classes.shape[0], 3, *classes.shape[1:], dtype=torch.int64, device=classes.device)
    for bit in range(24):
        channels[:, bit % 3] |= (classes + 1 >> bit & 1) << (7 - bit // 3)
    return channels.to(torch.uint8)


def _detector(folder: str, name: str, device: torch.device | str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise MissingPackageError(
            "detectors are run by the package transformers; install it with `pip install 'ar-vision[text]'`"
        ) from error
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        model = getattr(transformers, name).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the detector {folder!r} cannot be loaded ({str(error).splitlines()[0]}): give the folder of a model in Hugging Face layout"
        ) from error
    return processor, model.eval().requires_grad_(False).to(device)
