"""The Fréchet distance of two Gaussians, as FID (arXiv 1706.08500) uses it."""

import torch
from ar_core.errors import DataError
from torch import Tensor

from .moments import Moments

__all__ = ["frechet_distance", "require_enough"]


def frechet_distance(samples: Moments, reference: Moments, *, what: str = "the distance") -> float:
    """|m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^{1/2}), in float64.

    The trace of the root is the sum of the roots of the eigenvalues of C₁^{1/2} C₂ C₁^{1/2}, which is symmetric and has the
    eigenvalues of C₁ C₂: exact where the iterative root of a product that is almost singular is not, and never complex.

    Args:
        samples: mean m₁ and covariance C₁ of features.
        reference: m₂ and C₂.
        what: the name of the number, for messages.

    Returns:
        At least 0, up to rounding; 0 for equal moments.

    Raises:
        DataError: the dimensions D differ, or a set has N <= D vectors: its covariance has no full rank then, and the distance
            is mostly that of the missing images.
    """
    if samples.dim != reference.dim:
        raise DataError(
            f"{what} was asked for between features of {samples.dim} and of {reference.dim} dimensions: use statistics of the "
            "same extractor"
        )
    for moments, role in ((samples, "sample"), (reference, "reference")):
        if moments.count is not None:
            require_enough(moments.count, moments.dim, role, what)
    root = _root(samples.covariance)
    shared = torch.linalg.eigvalsh(root @ reference.covariance @ root).clamp(min=0).sqrt().sum()
    traces = samples.covariance.trace() + reference.covariance.trace()
    return float((samples.mean - reference.mean).square().sum() + traces - 2 * shared)


def require_enough(count: int, dim: int, role: str, what: str) -> None:
    """Refuse N <= D vectors.

    Args:
        count: N.
        dim: D.
        role: of the images, "sample" or "reference".
        what: the name of the number.

    Raises:
        DataError: there are too few.
    """
    if count <= dim:
        raise DataError(
            f"{what} needs more than {dim} {role} images, one for each dimension of the features, and has {count}: give more, "
            "or leave it out of the metrics"
        )


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    out: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return out
