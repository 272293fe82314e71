"""From tower features to embeddings of the language model, and any-resolution maps to tokens.

Source: the connector of LLaVA-1.5 (arXiv 2310.03744) and any-resolution tokens of LLaVA-NeXT, as DiffusionVL's published
code has them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images.anyres import AnyresMap
from .config import ConnectorConfig

__all__ = ["Connector", "anyres_tokens", "pooled"]


class Connector(nn.Sequential):
    """`depth` linear layers with exact GELU between them; names of tensors as published (`0.weight`, `2.weight`, ...).

    Args:
        config: depth.
        width: W, of tower features.
        hidden: C, of the language model.
    """

    def __init__(self, config: ConnectorConfig, width: int, hidden: int) -> None:
        layers: list[nn.Module] = [nn.Linear(width, hidden)]
        for _ in range(config.depth - 1):
            layers += [nn.GELU(), nn.Linear(hidden, hidden)]
        super().__init__(*layers)


def pooled(features: Tensor, pool: int) -> Tensor:
    """Average features [K, g · g, W] over squares of pool · pool, a divisor of g: [K, (g / pool)², W]."""
    if pool == 1:
        return features
    side = round(features.shape[1] ** 0.5)
    grid = features.transpose(1, 2).unflatten(2, (side, side))
    return F.avg_pool2d(grid, pool).flatten(2).transpose(1, 2)


def anyres_tokens(crops: Tensor, laid: AnyresMap, newline: Tensor | None) -> Tensor:
    """The tokens of an any-resolution picture (`spatial_unpad`).

    Order: the whole picture's features; then the crops' joined to one map, without the rows or columns that show the canvas,
    scaled bilinearly where there are too many, row by row, each row ended by the newline vector if there is one.

    Args:
        crops: [1 + rows · columns, g · g, C], the whole picture first.
        laid: how they join.
        newline: [C], or None.

    Returns:
        [g² + h (w + 1), C], or [g² + h w, C] without the newline.
    """
    side = round(crops.shape[1] ** 0.5)
    joined = crops[1:].unflatten(1, (side, side)).unflatten(0, laid.grid)
    joined = joined.permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)
    (top, left), (rows, columns) = laid.margin, laid.kept
    joined = joined[:, top : top + rows, left : left + columns]
    if laid.size != laid.kept:
        joined = F.interpolate(joined[None], laid.size, mode="bilinear")[0]
    if newline is not None:
        joined = torch.cat([joined, newline[:, None, None].to(joined.dtype).expand(-1, laid.size[0], 1)], dim=2)
    return torch.cat([crops[0], joined.flatten(1).T])
