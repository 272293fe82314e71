"""Surface normals as maps: x in red, y in green, towards the camera in blue, -1 to 1 as 0 to 255."""

import torch
from torch import Tensor

from .canny import sobel

__all__ = ["mirrored", "normals_of_depth"]


def normals_of_depth(depth: Tensor, steepness: float = 4.0) -> Tensor:
    """Return the normals of depth maps, in which near is white.

    Args:
        depth: uint8 [B, 3, H, W], three equal channels.
        steepness: how many image sides deep the range of the map is taken to be.

    Returns:
        uint8 [B, 3, H, W].
    """
    heights = depth[:, :1].float() / 255 * steepness
    dx, dy = (part / 8 * max(depth.shape[2:]) / 8 for part in sobel(heights))
    normal = torch.cat([-dx, -dy, torch.ones_like(dx)], dim=1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    return ((normal + 1) * 127.5).round().to(torch.uint8)


def mirrored(maps: Tensor, *, normal: bool) -> Tensor:
    """Return maps of mirrored pictures: mirrored, and of normals with x negated.

    Args:
        maps: uint8 [..., 3, H, W].
        normal: whether they are normals.
    """
    flipped = maps.flip(-1)
    if not normal:
        return flipped
    return torch.cat([255 - flipped[..., :1, :, :], flipped[..., 1:, :, :]], dim=-3)
