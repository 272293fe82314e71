"""Mean and covariance of a stream of vectors."""

import torch
from ar_core.errors import DataError
from torch import Tensor

__all__ = ["Moments"]


class Moments:
    """Mean and covariance of all vectors added so far, in float64; N vectors of dimension D take D x D numbers.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        self.count: int | None = 0
        """N; None where only mean and covariance were published."""
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)

    @classmethod
    def published(cls, mean: Tensor, covariance: Tensor, place: str) -> "Moments":
        """Take moments as a file of statistics holds them; nothing can be added to them.

        Args:
            mean: [D].
            covariance: [D, D].
            place: what names the file in messages.

        Raises:
            DataError: shapes do not fit together, a number is none, or the covariance is not symmetric.
        """
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise DataError(
                f"{place} has a mean of shape {list(mean.shape)} and a covariance of {list(covariance.shape)}: they must be [D] "
                "and [D, D], fetch it again"
            )
        made = cls(len(mean))
        made.count, made.mean, made._scatter = None, mean.double(), covariance.double()
        if not bool(made.mean.isfinite().all() & made._scatter.isfinite().all()):
            raise DataError(f"{place} has statistics that are not finite: fetch it again")
        if not torch.allclose(made._scatter, made._scatter.T, rtol=1e-6, atol=1e-8):
            raise DataError(f"{place} has a covariance that is not symmetric: fetch it again")
        return made

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def covariance(self) -> Tensor:
        """[D, D], divided by N - 1."""
        return self._scatter if self.count is None else self._scatter / (self.count - 1)

    def add(self, vectors: Tensor) -> None:
        """Add vectors [B, D]; how a stream is cut into batches changes the last digits at most.

        Raises:
            DataError: a number is none.
        """
        assert self.count is not None
        x = vectors.detach().to("cpu", torch.float64)
        if not bool(x.isfinite().all()):
            raise DataError(
                "an image has features that are not finite: its extractor's weights are damaged, fetch them again"
            )
        total = self.count + len(x)
        mean = x.mean(0)
        centred, shift = x - mean, mean - self.mean
        self._scatter += centred.T @ centred + torch.outer(shift, shift) * (self.count * len(x) / total)
        self.mean = self.mean + shift * (len(x) / total)
        self.count = total
