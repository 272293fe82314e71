"""Samples of CIFAR-10: drawn evenly of all classes, and held against images that no model has seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ar_core.training import StageConfig
from ar_vision.data.config import ImageDataConfig
from ar_vision.evaluation.features import FeatureExtractor, FeaturesConfig, open_features
from ar_vision.evaluation.generation import ImageGenerator
from ar_vision.evaluation.image_set import ImageSet, SplitConfig, open_images
from ar_vision.evaluation.measure import Metric, measure
from ar_vision.evaluation.protocol import ProtocolConfig, draw

from .captioned import captioned_images
from .parts import Folders, part

__all__ = ["Against", "measure_samples", "resnet20", "test_images"]

METRICS: tuple[Metric, ...] = ("frechet", "class_accuracy", "precision_recall")
"""Of samples, on features; the nearest training images are looked for among pixels."""


@dataclass(frozen=True)
class Against:
    """What samples are measured by.

    Attributes:
        extractor: of features.
        test: images that nothing was trained on.
        train: images that generators and tokenizers were trained on.
    """

    extractor: FeatureExtractor
    test: ImageSet
    train: ImageSet

    @classmethod
    def cifar10(cls, folders: Folders, test: int | None = None, device: str = "cpu") -> "Against":
        """Images of CIFAR-10 and the ResNet-20 that classifies them; of the test images all, or the first so many."""
        return cls(
            resnet20(folders, device), _parquet(folders.cifar10, "test", test), _parquet(folders.cifar10, "train")
        )


def measure_samples(
    generator: ImageGenerator,
    folder: Path,
    against: Against,
    *,
    count: int,
    seed: int = 0,
    nearest: bool = False,
    device: str = "cpu",
) -> dict[str, Any]:
    """Draw images of all classes evenly, or go on with drawing, and measure them.

    Args:
        generator: what draws.
        folder: takes the images, and stays.
        against: what they are measured by.
        count: how many.
        seed: that they are drawn by.
        nearest: also how far the nearest training image is, beside that of the test images.
        device: that the generator draws on.
    """
    config = ProtocolConfig(labels=tuple(range(generator.classes)), count=count, seed=seed)
    draw(generator, config, StageConfig(directory=str(folder), chunk_size=500, device=device), batch_size=100)
    samples = open_images(str(folder))
    values = measure(samples, METRICS, extractor=against.extractor, reference=against.test)
    if nearest:
        values |= measure(samples, ("nearest_training",), reference=against.test, train=against.train)
    return values


def resnet20(folders: Folders, device: str = "cpu") -> FeatureExtractor:
    """The staged classifier of CIFAR-10."""
    path = folders.staged / "models" / "cifar10_resnet" / "resnet20.safetensors"
    return open_features(FeaturesConfig(kind="resnet20-cifar10", path=str(path)), device)


def test_images(name: str, folders: Folders) -> ImageSet:
    """Images that the part was not trained on: the 10,000 test images of CIFAR-10, the 24 Kodak photographs at 128 pixels,
    or the emoji that are held out."""
    if part(name).data == "photographs":
        kodak = ImageDataConfig(kind="folder", path=str(folders.kodak), size=128, transform="infinity")
        return open_images(SplitConfig(kodak))
    if part(name).captioned:
        return captioned_images(name, folders, "held_out")
    return _parquet(folders.cifar10, "test")


def _parquet(cifar10: Path, split: str, count: int | None = None) -> ImageSet:
    return open_images(SplitConfig(ImageDataConfig(path=str(cifar10 / f"{split}.parquet"), size=32, count=count)))
