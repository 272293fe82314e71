"""What the op computes, in plain torch, with a difference or a product of every row and every code.

Source: VQ-VAE (arXiv 1711.00937), equation 1.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["LEAST_LENGTH", "reference"]

LEAST_LENGTH = 1e-12
"""What a row is divided by at least when its length is made 1; a row of zeros stays one."""


def reference(x: Tensor, codebook: Tensor, *, metric: str = "euclidean") -> tuple[Tensor, Tensor]:
    """Definition of `nearest_code`, in float32 or better.

    Args:
        x: rows, [N, C].
        codebook: [V, C].
        metric: `euclidean` or `cosine`.

    Returns:
        Ids int64 [N], and squared distances or cosines [N].
    """
    wide = torch.promote_types(torch.promote_types(x.dtype, codebook.dtype), torch.float32)
    x, codebook = x.to(wide), codebook.to(wide)
    if metric == "cosine":
        apart = -(normalize(x, eps=LEAST_LENGTH)[:, None] * normalize(codebook, eps=LEAST_LENGTH)).sum(2)
    else:
        apart = (x[:, None] - codebook).square().sum(2)
    # `min` gives the first of equal ones; and id 0 where all are infinite.
    least, ids = apart.where(apart.isfinite(), torch.inf).min(1)
    score = least.masked_fill(least.isinf(), torch.nan)
    return ids, -score if metric == "cosine" else score
