"""How much tiles show: their edges, and the bands in which neighbours are blended."""

import torch
from torch import Tensor

from .tiling import Axis, TilePlan

__all__ = ["blend_ratio", "seam_ratio"]


def seam_ratio(image: Tensor, plan: TilePlan, factor: int) -> float:
    """Return the mean step between neighbouring pixels across edges of tiles over that elsewhere: about 1 where no edge shows.

    Proxy (ours): steps across an edge that are as large as others cannot be seen as such, and larger ones can. Blending makes edges
    vanish whatever the tiles hold; what it costs is for :func:`blend_ratio` to say.

    Args:
        image: [3, factor h, factor w], of any range.
        plan: of the small image.
        factor: of the upscaling.

    Returns:
        1.0 of an image of one tile, or one that is flat.
    """
    parts = []
    for axis, steps in _both(image, plan):
        # Step number i lies between pixels i and i + 1; of an image that was padded to a tile, edges may lie outside.
        inside = torch.zeros(len(steps), dtype=torch.bool)
        inside[[edge - 1 for edge in axis.edges(factor) if 0 < edge <= len(steps)]] = True
        parts.append((steps, inside))
    return _ratio(parts)


def blend_ratio(image: Tensor, plan: TilePlan, factor: int) -> float:
    """Return the mean step between neighbouring pixels where tiles are blended over that elsewhere: about 1 where no band shows.

    Proxy (ours): two drawings of the same texture do not agree, and their mean is smoother than each; below 1, bands are softer
    than what lies between them. An image that is not tiled need not have 1: compare with the bicubic one.

    Args:
        image: [3, factor h, factor w], of any range.
        plan: of the small image.
        factor: of the upscaling.

    Returns:
        1.0 of an image of tiles that do not overlap, one without pixels outside overlaps, or one that is flat.
    """
    parts = []
    for axis, steps in _both(image, plan):
        inside = torch.zeros(len(steps), dtype=torch.bool)
        for begin, end in axis.bands(factor):
            # The step behind the last pixel of a band leads out of it.
            inside[begin : end - 1] = True
        parts.append((steps, inside))
    return _ratio(parts)


def _both(image: Tensor, plan: TilePlan) -> list[tuple[Axis, Tensor]]:
    """Both axes, with the mean step at each place along them."""
    x = image.float()
    return [(axis, x.diff(dim=dim).abs().mean(dim=(0, 3 - dim))) for axis, dim in ((plan.rows, 1), (plan.columns, 2))]


def _ratio(parts: list[tuple[Tensor, Tensor]]) -> float:
    steps, inside = (torch.cat(every) for every in zip(*parts, strict=True))
    if not bool(inside.any()) or bool(inside.all()) or float(steps[~inside].sum()) <= 0:
        return 1.0
    return float(steps[inside].double().mean() / steps[~inside].double().mean())
