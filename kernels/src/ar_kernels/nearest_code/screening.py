"""Nearest codes by products that leave few candidates, and float64 that decides between them.

A matrix product gives |e|^2 - 2 x e of some rows and all codes, wrong by at most a bound that the lengths of x and e give. Codes
within twice that of the smallest may be the nearest, usually one or two; the others cannot. Where the bound says nothing, because
a number is not finite, all codes are candidates: slow, and right.

Source: ours.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ar_kernels.nearest_code.reference import LEAST_LENGTH

__all__ = ["screened", "unit"]

PIECE = 2**20
"""Products that are held, 4 MiB in float32."""
FEWEST_ROWS = 32
"""Rows of a piece: with fewer, the product is narrow."""
GROUP = 128
"""Codes that are looked at together: only groups with a candidate are searched, and their minima cost one quick pass."""
PAIRS = 2**17
"""Numbers of candidates that are held in float64, 1 MiB."""


def screened(x: Tensor, codebook: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    """Nearest codes.

    Args:
        x: rows, [N, C].
        codebook: [V, C].
        cosine: by the cosine, else by the squared distance.

    Returns:
        Ids int64 [N], and squared distances or cosines [N], float32 or better.
    """
    wide = torch.promote_types(torch.promote_types(x.dtype, codebook.dtype), torch.float32)
    ids, score = x.new_empty(len(x), dtype=torch.int64), x.new_empty(len(x), dtype=wide)
    exact = wide if _is_exact(x.device) else torch.float64
    # Differences do not change with the origin; far from it, products lose the digits that tell codes apart.
    centre = codebook.new_zeros((), dtype=exact) if cosine else codebook.to(exact).mean(0)
    codes, reach = _with_lengths(unit(codebook).to(exact) if cosine else codebook.to(exact) - centre, cosine)
    rounding = (2 * x.shape[1] + 8) * torch.finfo(exact).eps * reach
    size, pairs = max(FEWEST_ROWS, PIECE // len(codes)), max(1, PAIRS // x.shape[1])
    for first in range(0, len(x), size):
        part = x[first : first + size]
        moved = unit(part).to(exact) if cosine else part.to(exact) - centre
        factors = torch.cat([moved * (-1 if cosine else -2), moved.new_ones(len(moved), 1)], 1)
        slack = rounding * (reach + 2 * torch.linalg.vector_norm(moved, dim=1))
        row, id = _candidates(factors @ codes.T, slack, len(codebook))
        apart = torch.cat([_apart(part[i], codebook[j], cosine) for i, j in zip(row.split(pairs), id.split(pairs))])
        # Beyond the largest number of the result's dtype, as NaN is: a comparison with it is false.
        apart = apart.where(apart <= torch.finfo(wide).max, torch.inf)
        least = apart.new_full((len(part),), torch.inf).scatter_reduce_(0, row, apart, "amin")
        nearest = id.where(apart == least[row], len(codebook))
        ids[first : first + size] = id.new_full((len(part),), len(codebook)).scatter_reduce_(0, row, nearest, "amin")
        least = least.masked_fill(least.isinf(), torch.nan)
        score[first : first + size] = -least if cosine else least
    return ids, score


def unit(x: Tensor) -> Tensor:
    """Rows [N, C] of length 1, float64: squares of float32 neither vanish nor overflow there."""
    return normalize(x.double(), eps=LEAST_LENGTH)


def _is_exact(device: torch.device) -> bool:
    """Whether products of float32 are, rather than of fewer bits, as the user may allow for all of torch."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in ("none", "ieee")


def _with_lengths(codes: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    """[V', C + 1] with |e|^2, or 0 for cosines, behind, and max |e|. V' is a multiple of `GROUP`; added codes are infinitely far."""
    squares = codes.square().sum(1)
    told = codes.new_zeros(-(-len(codes) // GROUP) * GROUP, codes.shape[1] + 1)
    told[: len(codes), :-1] = codes
    told[:, -1] = torch.inf
    told[: len(codes), -1] = 0 if cosine else squares
    return told, squares.amax().sqrt()


def _candidates(products: Tensor, slack: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Rows and ids, int64 [M] each, of what is at most `slack` [n] above the least of its row of products [n, V'].

    What is no number counts as if it were.
    """
    groups = products.view(len(products), -1, GROUP)
    lowest = groups.amin(2)
    limit = lowest.amin(1) + slack
    row, group = (~(lowest > limit[:, None])).nonzero(as_tuple=True)
    pair, place = (~(groups[row, group] > limit[row, None])).nonzero(as_tuple=True)
    row, id = row[pair], group[pair] * GROUP + place
    real = id < vocabulary
    return row[real], id[real]


def _apart(x: Tensor, codes: Tensor, cosine: bool) -> Tensor:
    """Squared distances, or negative cosines, float64 [M], of pairs [M, C]."""
    if cosine:
        return -(unit(x) * unit(codes)).sum(1)
    return (x.double() - codes.double()).square_().sum(1)
