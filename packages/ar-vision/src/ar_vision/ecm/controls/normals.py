"""Surface normals as maps: x in red, y in green, towards the camera in blue, -1 to 1 as 0 to 255.

Source: ours.
"""

import torch
from torch import Tensor

from .canny import sobel

__all__ = ["mirrored", "normals_of_depth"]


def normals_of_depth(depth: Tensor, deep: float = 1.0) -> Tensor:
    """Return the normals of depth maps, in which near is white.

    Args:
        depth: uint8 [B, 3, H, W], three equal channels.
        deep: how many sides of the image the range of the map is taken to span.

    Returns:
        uint8 [B, 3, H, W].
    """
    heights = depth[:, :1].float() / 255 * deep * max(depth.shape[2:])
    # A Sobel filter adds up eight times the slope.
    dx, dy = (part / 8 for part in sobel(heights))
    normal = torch.cat([-dx, -dy, torch.ones_like(dx)], dim=1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    out: Tensor = ((normal + 1) * 127.5).round().to(torch.uint8)
    return out


def mirrored(maps: Tensor, *, normal: bool) -> Tensor:
    """Return maps of mirrored pictures: mirrored, and of normals with x negated.

    Args:
        maps: uint8 [..., 3, H, W].
        normal: whether they are normals.

    Returns:
        uint8 [..., 3, H, W].
    """
    flipped = maps.flip(-1)
    if not normal:
        return flipped
    return torch.cat([255 - flipped[..., :1, :, :], flipped[..., 1:, :, :]], dim=-3)
