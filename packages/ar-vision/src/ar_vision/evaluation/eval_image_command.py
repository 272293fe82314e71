"""The command that measures samples."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ar_core.command_result import CommandResult, ResultTable
from ar_core.config import expand_path
from ar_core.errors import ConfigError
from ar_core.training.device import choose_device

from .features import FeaturesConfig, open_features
from .image_set import ImageSet, SplitConfig, open_images
from .measure import METRICS, MeasureConfig, Metric, measure
from .protocol import ProtocolConfig
from .report import check_target, described, features_facts, write_report
from .sampling import drawn, generator_of, round_of
from .sampling_config import SamplingConfig, refuse_set

__all__ = ["EvalImageConfig", "evaluate_images"]


DRAWING = (
    *(one.name for one in fields(SamplingConfig) if one.name not in ("checkpoint", "device")),
    *("per_class", "directory"),
)
"""Settings of drawing alone."""

READERS: Mapping[Metric, str] = {
    "precision_recall": "neighbours",
    "class_score": "splits",
    "nearest_training": "nearest",
}
"""The only metric that reads a setting of metrics."""


@dataclass(frozen=True, kw_only=True)
class EvalImageConfig(SamplingConfig):
    """What is measured against what.

    Raises:
        ConfigError: both samples and a checkpoint are given, or neither; training images without a reference.
    """

    output: Path
    """The JSON report."""

    samples: str | SplitConfig | None = None
    """An .npz, a folder of pictures, or the folder of an earlier run of the protocol; null: they are drawn from the checkpoint."""

    per_class: int = 50
    """Images of each label that are drawn from the checkpoint. Published: 50 of 1,000 classes."""

    directory: str | None = None
    """Where they are kept, so that a killed run goes on and other reports can use them; null: OUTPUT.samples."""

    reference: str | SplitConfig | None = None
    """Held-out images: a path, or reference.data.path=... reference.split=held_out as in a recipe."""

    train: str | SplitConfig | None = None
    """Training images, for the distance to the nearest of them; needs a reference beside them, whose distances are compared."""

    features: FeaturesConfig | None = None
    """features.kind=resnet20-cifar10 features.path=FILE; the kind is part of every number's name."""

    metrics: tuple[Metric, ...] | None = None
    """Null: all that features, reference, training images and labels allow."""

    settings_of_metrics: MeasureConfig = field(default_factory=MeasureConfig)
    """Neighbours, splits, images that are compared with the training images, batch size."""

    force: bool = False
    """Overwrite the report."""

    def __post_init__(self) -> None:
        if (self.samples is None) == (self.checkpoint is None):
            raise ConfigError(
                "give either samples (an .npz or a folder) or a checkpoint to draw them from, and not both"
            )
        if self.samples is not None:
            refuse_set(self, *DRAWING, because="samples are given, which are drawn already")
        if self.metrics is None and self.train is not None and self.reference is None:
            raise ConfigError(
                "train is given without reference, and nearest_training needs both: give held-out images as reference, or leave train out"
            )
        if self.per_class < 1:
            raise ConfigError(
                f"per_class is {self.per_class}, but must be at least 1: give 50 for the published protocol"
            )
        if self.output.suffix != ".json":
            raise ConfigError(f"output is {str(self.output)!r} and must end in .json: give another name")


def evaluate_images(config: EvalImageConfig) -> CommandResult:
    """Draw if need be, measure, write the report, and say the numbers.

    Raises:
        ArError: whatever cannot be used; what can be found out before the first pass is.
    """
    output = expand_path(str(config.output))
    check_target(output, force=config.force)
    device = choose_device(config.device)
    opened = {
        name: None if where is None else open_images(where)
        for name, where in (("reference", config.reference), ("train", config.train))
    }
    extractor = None if config.features is None else open_features(config.features, str(device))
    metrics = config.metrics
    if metrics is None:
        metrics = _possible(opened["reference"], opened["train"], extractor)
    if not metrics:
        raise ConfigError(
            f"there is nothing to measure: give features, or a reference and training images, or metrics of {', '.join(METRICS)}"
        )
    _refuse_unread(config, metrics)
    samples = _samples(config, output)
    if config.metrics is None and samples.labels is None:
        metrics = tuple(metric for metric in metrics if metric != "class_accuracy")
    found = measure(
        samples,
        metrics,
        extractor=extractor,
        reference=opened["reference"],
        train=opened["train"],
        config=config.settings_of_metrics,
    )
    content: dict[str, Any] = {
        "metrics": found,
        "samples": described(samples),
        **{name: described(images) for name, images in opened.items() if images is not None},
        "features": None if extractor is None else features_facts(extractor),
        "settings": {"metrics": list(metrics), **asdict(config.settings_of_metrics)},
    }
    write_report(output, content, str(device))
    return CommandResult(
        f"{samples.count} samples, report in {output}",
        {"output": output, "count": samples.count, **content},
        table=ResultTable(("measure", "value"), tuple(_rows(found))),
    )


def _samples(config: EvalImageConfig, output: Path) -> ImageSet:
    if config.samples is not None:
        return open_images(config.samples)
    generator = generator_of(config)
    labels = round_of(config, generator)
    directory = expand_path(config.directory) if config.directory else output.with_suffix(".samples")
    return drawn(config, generator, ProtocolConfig(labels, config.per_class * len(labels), config.seed), directory)


def _refuse_unread(config: EvalImageConfig, metrics: tuple[Metric, ...]) -> None:
    """Refuse what none of the metrics reads, before images are drawn for them."""
    for metric, name in READERS.items():
        if metric not in metrics:
            refuse_set(config.settings_of_metrics, name, because=f"{metric} is not measured")
    if "nearest_training" not in metrics:
        refuse_set(config, "train", because="nearest_training is not measured")
    if set(metrics) == {"class_score"}:
        refuse_set(config, "reference", because="class_score alone is measured")


def _possible(reference: ImageSet | None, train: ImageSet | None, extractor: Any) -> tuple[Metric, ...]:
    """Return what can be measured, of samples with labels."""
    with_reference = extractor is not None and reference is not None
    allowed = {
        "frechet": with_reference,
        "spatial_frechet": with_reference,
        "class_score": extractor is not None,
        "precision_recall": with_reference,
        "class_accuracy": extractor is not None and extractor.classes is not None,
        "nearest_training": reference is not None and train is not None,
    }
    return tuple(metric for metric in METRICS if allowed[metric])


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, float):
            yield name, f"{value:.4g}"
        elif "below" in value:
            medians = " and ".join(f"{value[role]['median']:.4g} ({role})" for role in ("samples", "held_out"))
            yield name, f"median {medians}, {value['copies']} copies, {value['below']:.2%} below the 1 % quantile"
        else:
            yield name, f"{value['mean']:.4g} ± {value['deviation']:.2g}"
