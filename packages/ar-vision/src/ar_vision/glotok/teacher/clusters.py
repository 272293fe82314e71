"""k-means.

Letters: m vectors, d their dimension, k centres.

Source: Lloyd's algorithm (1982) with k-means++ (Arthur and Vassilvitskii, 2007).
"""

import torch
from ar_core.errors import DataError
from torch import Generator, Tensor

__all__ = ["cluster_centres"]


def cluster_centres(
    vectors: Tensor, count: int, generator: Generator, *, iterations: int = 25
) -> tuple[Tensor, Tensor]:
    """Return the centres of vectors by Lloyd's rounds from first centres that are drawn far apart (k-means++).

    A centre that loses its last vector moves onto the vector that is farthest from its own.

    Args:
        vectors: `[m, d]`.
        count: k.
        generator: of the first centres, on the CPU.
        iterations: most rounds.

    Returns:
        float32 `[k, d]`, and int64 `[k]`: vectors of each.

    Raises:
        DataError: there are fewer different vectors than centres.
    """
    x = vectors.float()
    centres = _first(x, count, generator)
    nearest = None
    for _ in range(iterations):
        distances = _squared(x, centres)
        now = distances.argmin(1)
        if nearest is not None and torch.equal(now, nearest):
            break
        nearest = now
        sizes = torch.bincount(nearest, minlength=count)
        sums = torch.zeros_like(centres).index_add_(0, nearest, x)
        centres = sums / sizes.clamp(min=1)[:, None]
        empty = (sizes == 0).nonzero().squeeze(1)
        if len(empty):
            far = distances.gather(1, nearest[:, None]).squeeze(1).topk(len(empty)).indices
            centres[empty] = x[far]
    return centres, torch.bincount(_squared(x, centres).argmin(1), minlength=count)


def _first(x: Tensor, count: int, generator: Generator) -> Tensor:
    chosen = [int(torch.randint(len(x), (), generator=generator))]
    distances = _squared(x, x[chosen]).squeeze(1)
    while len(chosen) < count:
        # The vectors that are centres already have no distance but for rounding.
        shares = distances.double().clamp(min=0).cpu()
        shares[chosen] = 0
        if not bool(shares.sum() > 0):
            raise DataError(
                f"a group has {len(chosen)} different vectors and {count} centres were asked for: set method.clusters lower, or take "
                "more pictures"
            )
        chosen.append(int(torch.multinomial(shares, 1, generator=generator)))
        distances = torch.minimum(distances, _squared(x, x[chosen[-1:]]).squeeze(1))
    return x[chosen]


def _squared(x: Tensor, centres: Tensor) -> Tensor:
    """|x_i - c_j|², `[m, k]`."""
    return x.square().sum(1, keepdim=True) - 2 * x @ centres.T + centres.square().sum(1)
