"""All metrics of a set of samples, in one pass over each set of images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from ar_core.config import require_positive
from ar_core.data.progress import track
from ar_core.errors import ConfigError, DataError
from torch import Tensor

from .features import FeatureExtractor, reported
from .frechet import frechet_distance, require_enough
from .gather import Gathered, gather
from .image_set import ImageSet
from .moments import Moments
from .nearest_training import Nearest, NearestTraining, memorisation
from .precision_recall import precision_recall

__all__ = ["METRICS", "MeasureConfig", "Metric", "measure"]

Metric = Literal["frechet", "spatial_frechet", "class_score", "precision_recall", "class_accuracy", "nearest_training"]
"""What can be measured of samples."""
METRICS: tuple[Metric, ...] = get_args(Metric)
"""All of them."""
STATISTICS: Mapping[Metric, tuple[str, str]] = {"frechet": ("mu", "sigma"), "spatial_frechet": ("mu_s", "sigma_s")}


@dataclass(frozen=True)
class MeasureConfig:
    """Settings of the metrics, recorded with every report.

    Raises:
        ConfigError: a value is out of range.
    """

    neighbours: int = 3
    """k of precision and recall."""
    splits: int = 10
    """Of the class score."""
    nearest: int = 1000
    """Samples and held-out images, the first ones, that are compared with all training images."""
    batch_size: int = 64
    """Images of a pass through the extractor; memory only."""

    def __post_init__(self) -> None:
        require_positive(self, "neighbours", "splits", "nearest", "batch_size")


def measure(
    samples: ImageSet,
    metrics: Sequence[Metric],
    *,
    extractor: FeatureExtractor | None = None,
    reference: ImageSet | None = None,
    train: ImageSet | None = None,
    config: MeasureConfig | None = None,
) -> dict[str, Any]:
    """Measure.

    ``frechet`` and ``spatial_frechet`` take the statistics that the reference was published with, where it has them and the
    extractor has the canonical weights; else its images. ``class_accuracy`` needs labels, and is reported of the reference
    too. ``nearest_training`` compares pixels (root mean square difference, in levels of 255) and, with an extractor, features.

    Args:
        samples: what is measured.
        metrics: which numbers.
        extractor: the features of all of them but distances of pixels.
        reference: held-out images.
        train: training images.
        config: settings.

    Returns:
        Values by the names under which they may be reported: see `.features.reported`.

    Raises:
        DataError: there are too few images, no labels, or a size is wrong; found before the first pass where possible.
        ConfigError: a metric needs something that was not given.
    """
    config = config or MeasureConfig()
    _check(samples, metrics, extractor, reference, train)
    found: dict[str, Any] = {}
    ours = theirs = None
    if extractor is not None and set(metrics) != {"nearest_training"}:
        wanted = _wanted(metrics)
        ours = gather(samples, extractor, wanted, batch_size=config.batch_size, splits=config.splits, role="samples")
        if reference is not None and _reads_reference(metrics, extractor, reference):
            theirs = gather(reference, extractor, wanted - {"score"}, batch_size=config.batch_size, role="reference")
        found |= _with_features(samples, ours, reference, theirs, metrics, extractor, config)
    if "nearest_training" in metrics:
        assert reference is not None
        assert train is not None
        found |= _nearest(samples, reference, train, extractor, config)
    return found


def _wanted(metrics: Sequence[Metric]) -> set[str]:
    needs = {"spatial_frechet": "spatial", "precision_recall": "pooled", "class_score": "score"}
    return {need for metric, need in needs.items() if metric in metrics}


def _published(metric: Metric, extractor: FeatureExtractor, reference: ImageSet) -> Moments | None:
    names = STATISTICS[metric]
    if not extractor.canonical or not all(name in reference.statistics for name in names):
        return None
    mean, covariance = (reference.statistics[name] for name in names)
    return Moments.published(mean, covariance, reference.place)


def _reads_reference(metrics: Sequence[Metric], extractor: FeatureExtractor, reference: ImageSet) -> bool:
    distances = [metric for metric in metrics if metric in STATISTICS]
    read = any(_published(metric, extractor, reference) is None for metric in distances)
    return read or "precision_recall" in metrics or ("class_accuracy" in metrics and reference.labels is not None)


def _with_features(
    samples: ImageSet,
    ours: Gathered,
    reference: ImageSet | None,
    theirs: Gathered | None,
    metrics: Sequence[Metric],
    extractor: FeatureExtractor,
    config: MeasureConfig,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in STATISTICS:
        if metric not in metrics:
            continue
        assert reference is not None
        name = reported(metric, extractor)
        spatial = metric == "spatial_frechet"
        other = _published(metric, extractor, reference)
        if other is None:
            assert theirs is not None
            other = theirs.spatial if spatial else theirs.moments
        mine = ours.spatial if spatial else ours.moments
        assert mine is not None
        assert other is not None
        found[name] = frechet_distance(mine, other, what=name)
    if ours.score is not None:
        found[reported("class_score", extractor)] = asdict(ours.score)
    if "precision_recall" in metrics:
        assert ours.pooled is not None
        assert theirs is not None
        assert theirs.pooled is not None
        both = asdict(precision_recall(ours.pooled, theirs.pooled, config.neighbours))
        found |= {reported(name, extractor): value for name, value in both.items()}
    if "class_accuracy" in metrics:
        name = reported("class_accuracy", extractor)
        found[name] = _accuracy(ours.predicted, samples.labels)
        if reference is not None and theirs is not None and reference.labels is not None:
            found[f"{name} of the reference"] = _accuracy(theirs.predicted, reference.labels)
    return found


def _accuracy(predicted: Tensor, labels: Tensor | None) -> float:
    assert labels is not None
    return float((predicted == labels).double().mean())


def _nearest(
    samples: ImageSet, held_out: ImageSet, train: ImageSet, extractor: FeatureExtractor | None, config: MeasureConfig
) -> dict[str, Any]:
    ours, theirs = (
        torch.cat(list(images.batches(config.batch_size, stop=config.nearest))) for images in (samples, held_out)
    )
    queries = torch.cat([ours, theirs])
    searches = {"pixels": NearestTraining(queries.flatten(1))}
    if extractor is not None:
        parts = [extractor(part).pooled.cpu() for part in queries.split(config.batch_size)]
        searches[extractor.name] = NearestTraining(torch.cat(parts))
    batches = -(-train.count // config.batch_size)
    for batch in track(train.batches(config.batch_size), "training images", batches):
        searches["pixels"].add(batch.flatten(1))
        if extractor is not None:
            searches[extractor.name].add(extractor(batch).pooled)
    # Pixels as root mean square difference: a number that does not grow with the image.
    scales = {name: queries[0].numel() ** -0.5 if name == "pixels" else 1.0 for name in searches}
    found: dict[str, Any] = {}
    for name, search in searches.items():
        result = search.result()
        distance = result.distance * scales[name]
        split = len(ours)
        found[f"nearest_training[{name}]"] = memorisation(
            Nearest(distance[:split], result.index[:split]), Nearest(distance[split:], result.index[split:])
        )
    return found


def _check(
    samples: ImageSet,
    metrics: Sequence[Metric],
    extractor: FeatureExtractor | None,
    reference: ImageSet | None,
    train: ImageSet | None,
) -> None:
    for metric in metrics:
        needs: Mapping[str, bool] = {
            "features": extractor is None and metric != "nearest_training",
            "reference": reference is None and metric not in ("class_score", "class_accuracy"),
            "train": train is None and metric == "nearest_training",
        }
        lacking = [name for name, lacks in needs.items() if lacks]
        if lacking:
            raise ConfigError(
                f"the metric {metric} needs {' and '.join(lacking)}, and none was given: give it, or leave {metric} out of the "
                "metrics"
            )
    if extractor is not None:
        for metric in STATISTICS:
            if metric in metrics:
                assert reference is not None
                dim = extractor.dim if metric == "frechet" else extractor.spatial_dim
                require_enough(samples.count, dim, "sample", reported(metric, extractor))
                if _published(metric, extractor, reference) is None:
                    require_enough(reference.count, dim, "reference", reported(metric, extractor))
        if "class_accuracy" in metrics:
            _check_labels(samples, extractor)
    if "nearest_training" in metrics:
        sizes = {images.size for images in (samples, reference, train) if images is not None}
        if len(sizes) > 1:
            raise DataError(
                f"samples, reference and training images have the sizes {', '.join(f'{w} x {h}' for h, w in sorted(sizes))}: "
                "pixels of different sizes cannot be compared, give data with a transform"
            )


def _check_labels(samples: ImageSet, extractor: FeatureExtractor) -> None:
    if extractor.classes is None:
        raise ConfigError(
            f"the classes of {extractor.name} are not numbered as any labels: leave class_accuracy out of the metrics"
        )
    if samples.labels is None:
        raise DataError(
            f"{samples.place} has no labels, which class_accuracy compares with: leave it out of the metrics, or give labels"
        )
    if not 0 <= int(samples.labels.min()) <= int(samples.labels.max()) < extractor.classes:
        raise DataError(
            f"{samples.place} has labels from {int(samples.labels.min())} to {int(samples.labels.max())} and {extractor.name} "
            f"tells {extractor.classes} classes apart: leave class_accuracy out of the metrics"
        )
