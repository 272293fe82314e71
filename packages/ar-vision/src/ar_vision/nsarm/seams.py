"""How much the edges of tiles show."""

from torch import Tensor

from .tiling import Axis, TilePlan

__all__ = ["seam_ratio"]


def seam_ratio(image: Tensor, plan: TilePlan, factor: int) -> float:
    """Return the mean step between neighbouring pixels across edges of tiles over that elsewhere: about 1 where no seam shows.

    Proxy (ours): steps across an edge that are as large as others cannot be seen as such, and larger ones can.

    Args:
        image: [3, factor h, factor w], of any range.
        plan: of the small image.
        factor: of the upscaling.

    Returns:
        1.0 of an image of one tile, or one that is flat.
    """
    across, elsewhere = 0.0, 0.0
    edges, others = 0, 0
    for axis, dim in ((plan.rows, 1), (plan.columns, 2)):
        # Step number i lies between pixels i and i + 1; of an image that was padded to a tile, edges may lie outside.
        steps = image.float().diff(dim=dim).abs().mean(dim=(0, 3 - dim))
        inside = _steps(axis, factor, len(steps))
        across += float(steps[inside].sum())
        edges += len(inside)
        elsewhere += float(steps.sum()) - float(steps[inside].sum())
        others += len(steps) - len(inside)
    if not edges or not others or elsewhere <= 0:
        return 1.0
    return (across / edges) / (elsewhere / others)


def _steps(axis: Axis, factor: int, count: int) -> list[int]:
    return [edge - 1 for edge in axis.edges(factor) if 0 < edge <= count]
