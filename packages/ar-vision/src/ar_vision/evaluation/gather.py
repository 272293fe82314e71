"""One pass over a set of images through a feature extractor."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from ar_core.data.progress import track
from torch import Tensor

from .class_score import ClassScore, Score
from .features import FeatureExtractor
from .image_set import ImageSet
from .moments import Moments

__all__ = ["Gathered", "gather"]


@dataclass(frozen=True)
class Gathered:
    """What is known of N images afterwards.

    Attributes:
        moments: of the pooled features.
        spatial: of the spatial features; None where not asked for.
        pooled: the pooled features, float32 [N, D]; None where not asked for.
        score: class score; None where not asked for.
        predicted: most probable class, int64 [N].
    """

    moments: Moments
    spatial: Moments | None
    pooled: Tensor | None
    score: Score | None
    predicted: Tensor


def gather(
    images: ImageSet,
    extractor: FeatureExtractor,
    wanted: Collection[str] = (),
    *,
    batch_size: int = 64,
    splits: int = 10,
    role: str = "images",
) -> Gathered:
    """Run the extractor over all images.

    Args:
        images: N images.
        extractor: the network.
        wanted: of ``spatial``, ``pooled`` and ``score``, what is kept beside the moments.
        batch_size: images of a pass; memory only.
        splits: of the class score.
        role: what the progress bar calls them.

    Raises:
        DataError: an image cannot be read or is not of a size that the extractor takes.
    """
    moments = Moments(extractor.dim)
    spatial = Moments(extractor.spatial_dim) if "spatial" in wanted else None
    score: ClassScore | None = None
    pooled, predicted = [], []
    batches = images.batches(batch_size)
    for batch in track(batches, f"features of the {role}", -(-images.count // batch_size)):
        features = extractor(batch)
        moments.add(features.pooled)
        predicted.append(features.probabilities.argmax(1).cpu())
        if spatial is not None:
            spatial.add(features.spatial)
        if "pooled" in wanted:
            pooled.append(features.pooled.cpu())
        if "score" in wanted:
            score = score or ClassScore(images.count, features.probabilities.shape[1], splits)
            score.add(features.probabilities)
    return Gathered(
        moments,
        spatial,
        torch.cat(pooled) if pooled else None,
        None if score is None else score.score(),
        torch.cat(predicted),
    )
