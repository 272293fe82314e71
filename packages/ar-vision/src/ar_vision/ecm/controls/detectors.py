"""Models of depth and segments in Hugging Face layout, as extractors; the only place of the method that needs transformers.

Source: ours, around models of transformers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ar_core.config import expand_path
from ar_core.errors import ConfigError, MissingPackageError
from ar_core.json_text import read_json
from torch import Tensor

__all__ = ["colours", "depth_detector", "seen_at", "segment_detector"]

_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
"""Mean and standard deviation of a model without a ``preprocessor_config.json``, or whose file asks for some and gives none."""


def depth_detector(folder: str, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return what makes depth maps, uint8 [B, 3, H, W] of pictures of the same shape: the model's largest value is white, its smallest
    black, in each picture. Models of relative inverse depth (MiDaS, DPT, Depth Anything) show what is near as white; metric ones, what is far.

    Args:
        folder: of any model that transformers loads for depth estimation; ``~`` and ``$NAME`` are expanded.
        device: where it runs.

    Raises:
        ConfigError: it cannot be loaded.
        MissingPackageError: transformers is not installed.
    """
    inputs, model = _opened(folder, "AutoModelForDepthEstimation", device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        found = model(pixel_values=inputs(images)).predicted_depth.float()
        depth = F.interpolate(found.reshape(len(images), 1, *found.shape[-2:]), size=images.shape[2:], mode="bilinear")
        low, high = depth.amin((1, 2, 3), keepdim=True), depth.amax((1, 2, 3), keepdim=True)
        scaled = (depth - low) / (high - low).clamp(min=1e-6)
        return (scaled * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).cpu()

    return extract


def segment_detector(folder: str, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return what makes segmentation maps, uint8 [B, 3, H, W], a colour for each class; arguments and errors as of `depth_detector`."""
    inputs, model = _opened(folder, "AutoModelForSemanticSegmentation", device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        scores = F.interpolate(
            model(pixel_values=inputs(images)).logits.float(), size=images.shape[2:], mode="bilinear"
        )
        return colours(scores.argmax(1)).cpu()

    return extract


def colours(classes: Tensor) -> Tensor:
    """Return a colour for each class: the bits of its number and 1, dealt out to the three channels, the lowest to the highest.

    Args:
        classes: int64 [B, H, W], at least 0.

    Returns:
        uint8 [B, 3, H, W].
    """
    channels = torch.zeros(classes.shape[0], 3, *classes.shape[1:], dtype=torch.int64, device=classes.device)
    for bit in range(24):
        channels[:, bit % 3] |= ((classes + 1) >> bit & 1) << (7 - bit // 3)
    return channels.to(torch.uint8)


def seen_at(settings: Mapping[str, Any], picture: tuple[int, int]) -> tuple[int, int]:
    """Return the (h, w) at which a model sees a picture.

    Args:
        settings: of its ``preprocessor_config.json``: ``size`` (one number, ``height`` and ``width``, or ``shortest_edge``), ``do_resize``,
            ``keep_aspect_ratio`` with ``ensure_multiple_of`` (DPT), ``size_divisor`` (GLPN).
        picture: (H, W).
    """
    height, width = picture
    size = settings.get("size") if settings.get("do_resize", True) else None
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if isinstance(size, dict) and "shortest_edge" in size:
        factor = size["shortest_edge"] / min(picture)
        height, width = round(height * factor), round(width * factor)
    elif isinstance(size, dict) and {"height", "width"} <= size.keys():
        factors = size["height"] / height, size["width"] / width
        if settings.get("keep_aspect_ratio"):
            # The one that changes the picture least.
            factors = (min(factors, key=lambda one: abs(1 - one)),) * 2
        height, width = round(height * factors[0]), round(width * factors[1])
    multiple, divisor = settings.get("ensure_multiple_of") or 1, settings.get("size_divisor") or 1
    height, width = (max(multiple, round(side / multiple) * multiple) for side in (height, width))
    return max(divisor, height // divisor * divisor), max(divisor, width // divisor * divisor)


def _opened(folder: str, name: str, device: torch.device | str) -> tuple[Callable[[Tensor], Tensor], Any]:
    """What prepares pictures for a model, and the model."""
    try:
        import transformers
    except ImportError as error:
        raise MissingPackageError(
            "detectors are run by the package transformers; install it with `pip install 'ar-vision[text]'`"
        ) from error
    where = expand_path(folder)
    try:
        model = getattr(transformers, name).from_pretrained(where, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the detector {folder!r} cannot be loaded ({str(error).splitlines()[0]}): give the folder of a model in Hugging Face layout"
        ) from error
    settings = _preprocessing(where)
    mean, std = (
        torch.tensor(settings.get(key, usual), device=device).view(1, 3, 1, 1)
        for key, usual in zip(("image_mean", "image_std"), _IMAGENET)
    )
    normalised = settings.get("do_normalize", not settings or "image_mean" in settings)

    def inputs(images: Tensor) -> Tensor:
        pixels = images.to(device).float() / 255
        size = seen_at(settings, (images.shape[2], images.shape[3]))
        if size != tuple(images.shape[2:]):
            pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        return (pixels - mean) / std if normalised else pixels

    return inputs, model.eval().requires_grad_(False).to(device)


def _preprocessing(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / "preprocessor_config.json")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
