"""Metrics of sets of images on features that can be computed by hand."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError, DataError
from ar_vision.evaluation.features import Features
from ar_vision.evaluation.frechet import frechet_distance
from ar_vision.evaluation.image_set import ImageSet
from ar_vision.evaluation.measure import METRICS, MeasureConfig, measure
from ar_vision.evaluation.moments import Moments

EVERY = tuple(METRICS)


class Channels:
    """Means of the channels as features, four corners as spatial ones, the brightest channel as the class."""

    name, digest, canonical, dim, spatial_dim, classes = "channels", "0" * 64, False, 3, 4, 3

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        x = images.float() / 255
        means = x.mean((2, 3))
        corners = x[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
        return Features(means, corners, F.one_hot(means.argmax(1), 3).float())


def image_set(pixels, labels=None, **more):
    return ImageSet("set", len(pixels), tuple(pixels.shape[2:]), lambda start: iter(pixels[start:]), labels, **more)


@pytest.fixture
def pixels(generator):
    return torch.randint(0, 256, (90, 3, 5, 4), generator=generator, dtype=torch.uint8)


@pytest.fixture
def sets(pixels):
    labels = pixels.float().mean((2, 3)).argmax(1)
    wrong = labels.clone()
    wrong[:6] = (wrong[:6] + 1) % 3
    return image_set(pixels[:40], wrong[:40]), image_set(pixels[40:70], labels[40:70]), image_set(pixels[60:])


def test_every_metric_under_its_name(sets, pixels):
    samples, reference, train = sets
    found = measure(
        samples,
        EVERY,
        extractor=Channels(),
        reference=reference,
        train=train,
        config=MeasureConfig(splits=2, nearest=25),
    )
    assert set(found) == {
        "frechet[channels]",
        "spatial_frechet[channels]",
        "class_score[channels]",
        "precision[channels]",
        "recall[channels]",
        "class_accuracy[channels]",
        "class_accuracy[channels] of the reference",
        "nearest_training[pixels]",
        "nearest_training[channels]",
    }
    moments = [Moments(3), Moments(3)]
    for part, one in zip((pixels[:40], pixels[40:70]), moments):
        one.add(part.float().mean((2, 3)) / 255)
    assert found["frechet[channels]"] == pytest.approx(frechet_distance(*moments), rel=1e-6)
    assert found["class_accuracy[channels]"] == pytest.approx(34 / 40)
    assert found["class_accuracy[channels] of the reference"] == 1
    assert 1 < found["class_score[channels]"]["mean"] <= 3
    # Ten reference images are training images; the first 25 of them hold five.
    assert found["nearest_training[pixels]"]["held_out"]["count"] == 25
    assert found["nearest_training[pixels]"]["copies"] == 0
    assert found["nearest_training[pixels]"]["held_out"]["smallest"] == 0


def test_pixel_distances_are_root_mean_squares_in_levels(pixels):
    train = image_set(pixels[:1])
    shifted = torch.where(pixels[:1] < 128, pixels[:1] + 10, pixels[:1] - 10)
    found = measure(image_set(shifted), ["nearest_training"], reference=image_set(pixels[5:9]), train=train)
    assert set(found) == {"nearest_training[pixels]"}
    assert found["nearest_training[pixels]"]["samples"]["median"] == pytest.approx(10)


def test_batches_change_nothing(sets):
    samples, reference, train = sets
    given = {"extractor": Channels(), "reference": reference, "train": train}
    one, other = (measure(samples, EVERY, config=MeasureConfig(splits=2, batch_size=size), **given) for size in (7, 64))
    assert one["frechet[channels]"] == pytest.approx(other["frechet[channels]"], rel=1e-9)
    assert one["precision[channels]"] == other["precision[channels]"]
    assert one["nearest_training[channels]"] == other["nearest_training[channels]"]


def test_published_statistics_serve_the_canonical_weights_alone(sets):
    samples, reference, _ = sets
    statistics = {"mu": torch.zeros(3, dtype=torch.float64), "sigma": torch.eye(3, dtype=torch.float64)}
    published = ImageSet(**{**vars(reference), "statistics": statistics})
    canonical, other = Channels(), Channels()
    canonical.canonical = True
    found = measure(samples, ["frechet"], extractor=canonical, reference=published)
    moments = Moments(3)
    moments.add(torch.cat([Channels()(batch).pooled for batch in samples.batches(9)]))
    expected = frechet_distance(moments, Moments.published(statistics["mu"], statistics["sigma"], "s"))
    assert found == {"fid": pytest.approx(expected)}
    # Images of the reference were not even read.
    assert canonical.seen == 40
    own = measure(samples, ["frechet"], extractor=other, reference=published)
    assert own == measure(samples, ["frechet"], extractor=Channels(), reference=reference)


def test_what_a_metric_needs_is_named(sets):
    samples, reference, _ = sets
    with pytest.raises(ConfigError, match="the metric frechet needs features and reference"):
        measure(samples, ["frechet"])
    with pytest.raises(ConfigError, match="the metric nearest_training needs train"):
        measure(samples, ["nearest_training"], reference=reference)


def test_too_few_images_are_refused_before_the_first_pass(sets, pixels):
    extractor = Channels()
    few = image_set(pixels[:4])
    with pytest.raises(DataError, match=r"spatial_frechet\[channels\] needs more than 4 sample images.* and has 4"):
        measure(few, ["spatial_frechet"], extractor=extractor, reference=sets[1])
    assert extractor.seen == 0


def test_labels_are_checked(sets, pixels):
    _, reference, _ = sets
    with pytest.raises(DataError, match="has no labels"):
        measure(image_set(pixels), ["class_accuracy"], extractor=Channels())
    with pytest.raises(DataError, match="labels from 0 to 3 and channels tells 3 classes apart"):
        measure(image_set(pixels, torch.arange(90) % 4), ["class_accuracy"], extractor=Channels())
    unnumbered = Channels()
    unnumbered.classes = None
    with pytest.raises(ConfigError, match="not numbered as any labels"):
        measure(reference, ["class_accuracy"], extractor=unnumbered)


def test_sizes_are_checked(sets):
    samples, reference, _ = sets
    larger = image_set(torch.zeros(3, 3, 9, 9, dtype=torch.uint8))
    with pytest.raises(DataError, match="have the sizes 4 x 5, 9 x 9"):
        measure(samples, ["nearest_training"], reference=reference, train=larger)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="neighbours is 0"):
        MeasureConfig(neighbours=0)
