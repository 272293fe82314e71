"""How well images follow their control: the control extracted again from them, against the one that they were given.

Protocols of papers differ in thresholds and scaling; this is ControlAR's, and reports carry it.

Source: ours; the measures by their definitions.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from ar_core.errors import DataError
from torch import Tensor

from ..evaluation.reconstruction import ssim
from ..pixels import to_signed
from .controls.config import ControlConfig
from .controls.extract import Extractor

__all__ = ["PROTOCOL", "edge_f1", "fidelity", "map_rmse"]

EDGE = 128
"""Least value of a pixel that is an edge."""

PROTOCOL: Mapping[str, str] = MappingProxyType(
    {
        "f1": f"of pixels of at least {EDGE} in both maps, no tolerance of places, per image, then averaged; two maps without an edge: 1",
        "rmse": "of values of 0 to 255, all channels, per image, then averaged",
        "ssim": "torchmetrics, Gaussian window of 11 pixels, sigma 1.5, per image, then averaged",
    }
)
"""How each number is taken, as reports say it."""


def edge_f1(found: Tensor, given: Tensor) -> Tensor:
    """Return 2 TP / (2 TP + FP + FN) of edges found in images against those given, of each image.

    Args:
        found: uint8 [B, E, H, W].
        given: the same.

    Returns:
        float32 [B], in [0, 1].
    """
    _require_alike(found, given)
    here, there = (one.amax(1).flatten(1) >= EDGE for one in (found, given))
    both, wrong = (here & there).sum(1), (here ^ there).sum(1)
    return torch.where(
        both + wrong > 0, 2 * both / (2 * both + wrong).clamp(min=1), torch.ones_like(both, dtype=torch.float32)
    )


def map_rmse(found: Tensor, given: Tensor) -> Tensor:
    """Return the root of the mean squared difference of values of 0 to 255, of each image.

    Args:
        found: uint8 [B, E, H, W].
        given: the same.

    Returns:
        float32 [B].
    """
    _require_alike(found, given)
    return (found.float() - given.float()).square().flatten(1).mean(1).sqrt()


def fidelity(
    config: ControlConfig, extract: Extractor, images: Tensor, maps: Tensor, *, structural: bool = False
) -> dict[str, Tensor]:
    """Measure images by the control that is found in them.

    Args:
        config: the control.
        extract: finds it; the maps must have been made by the same.
        images: generated, uint8 [B, 3, H, W].
        maps: what they were given, uint8 [B, 3, H, W].
        structural: also SSIM, which needs torchmetrics.

    Returns:
        float32 [B] of each: ``f1`` of canny and edges, ``rmse``, ``ssim``.

    Raises:
        DataError: images and maps have not one shape.
        MissingPackageError: torchmetrics is not installed.
    """
    _require_alike(images, maps)
    found = extract(images)
    values = {"rmse": map_rmse(found, maps)}
    if config.kind in ("canny", "edges"):
        values["f1"] = edge_f1(found, maps)
    if structural:
        values["ssim"] = ssim(to_signed(found), to_signed(maps))
    return values


def _require_alike(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape or one.dtype != torch.uint8 or other.dtype != torch.uint8:
        raise DataError(
            f"maps of shape {list(one.shape)} ({one.dtype}) and {list(other.shape)} ({other.dtype}) cannot be compared: give two of one shape, "
            "uint8"
        )
