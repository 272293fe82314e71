"""The table of code vectors, and the nearest of them.

Letters: V codes, Cv their dimension, N vectors.
"""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from ar_kernels import nearest_code
from torch import Tensor, nn

__all__ = ["Codebook", "Metric"]

Metric: TypeAlias = Literal["euclidean", "cosine"]
"""What makes a code the nearest: the smallest |z - E_v|², or the largest cosine of z and E_v."""


class Codebook(nn.Module):
    """V code vectors, stored raw; rows are normalised at the time of use where that is asked for.

    VAR (arXiv 2404.02905) looks up the euclidean nearest of raw rows; its ``znorm`` variant compares by cosine and still
    returns raw rows. LlamaGen (arXiv 2406.06525) and FlexVAR (arXiv 2502.20313) compare by cosine and return unit rows.

    Args:
        vocab_size: V.
        dim: Cv.
        metric: how vectors and codes are compared.
        unit_rows: looked-up rows have unit length.
    """

    def __init__(self, vocab_size: int, dim: int, *, metric: Metric = "euclidean", unit_rows: bool = False) -> None:
        super().__init__()
        self.metric: Metric = metric
        self.unit_rows = unit_rows
        self.weight = nn.Parameter(torch.empty(vocab_size, dim))
        nn.init.zeros_(self.weight)

    def extra_repr(self) -> str:
        """V, Cv and the metric."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}, metric={self.metric!r}, unit_rows={self.unit_rows}"

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """Return the ids of the nearest codes; of equally near ones, the first.

        Args:
            vectors: `[..., Cv]`, compared in float32 or better, also under autocast; no tensor of all distances is held.

        Returns:
            int64 `[...]`.
        """
        ids = nearest_code(vectors.reshape(-1, vectors.shape[-1]), self.weight, metric=self.metric)
        return ids.reshape(vectors.shape[:-1])

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the code vectors `[..., Cv]` of ids, int64 `[...]`, of unit length where ``unit_rows`` is set."""
        rows = F.embedding(ids, self.weight)
        return F.normalize(rows, dim=-1) if self.unit_rows else rows

    def lookup_map(self, ids: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the code vectors of row-major ids, int64 `[B, h w]`, as features `[B, Cv, h, w]`.

        Raises:
            DataError: There are more or fewer ids than cells.
        """
        height, width = size
        if ids.shape[1:] != (height * width,):
            raise DataError(
                f"codes of shape {list(ids.shape)} were given for a scale of {height}x{width}, which has {height * width} "
                "a row: they belong to another scale or schedule"
            )
        out: Tensor = self.lookup(ids).transpose(1, 2).unflatten(2, size)
        return out

    def count(self, ids: Tensor) -> Tensor:
        """Return how often each code occurs, int64 `[V]`."""
        return torch.bincount(ids.flatten(), minlength=self.weight.shape[0])
