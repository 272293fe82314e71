"""Degradation: a function of the sample, within bounds, each step what it says."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_vision.nsarm.degradation.config import (
    PRESETS,
    SWEEP,
    BlurConfig,
    DegradationConfig,
    NoiseConfig,
    ResizeConfig,
    StageConfig,
    degradation_of,
)
from ar_vision.nsarm.degradation.degrade import _scale, degrade
from ar_vision.nsarm.degradation.draws import chosen, uniform
from ar_vision.nsarm.degradation.kernels import bell, drawn_kernel, drawn_sinc, gaussian, sinc
from ar_vision.nsarm.degradation.operations import add_noise, convolved, jpeg, sharpened


@pytest.fixture
def photograph():
    """Smooth, with an edge, uint8 [3, 64, 48]."""
    y, x = torch.meshgrid(torch.linspace(0, 6, 64), torch.linspace(0, 4, 48), indexing="ij")
    image = torch.stack([0.5 + 0.4 * torch.sin(x + y), 0.5 + 0.4 * torch.cos(2 * x), (y > 3).float() * 0.8 + 0.1])
    return (image * 255).round().to(torch.uint8)


def drawn(number=0, seed=0):
    return SampleRng(seed).row(number, "degradation")


@pytest.mark.parametrize("name", [*PRESETS, *SWEEP])
def test_a_sample_has_one_degradation_of_a_quarter_of_its_size(photograph, name):
    """Oracle 10: the same seed and number give the same image, on the levels of 255, exactly a quarter of the size."""
    config = degradation_of(name)
    first, again = (degrade(photograph, config, drawn(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.uint8
    assert first.shape == (3, 16, 12)
    assert first.float().std() > 5
    if name in ("realesrgan", "light"):
        others = [degrade(photograph, config, drawn(number, seed)) for number, seed in ((4, 0), (3, 1))]
        assert not any(torch.equal(first, other) for other in others)


def test_every_kernel_has_the_sum_one():
    """Oracle 10: to 1e-6; sizes are odd, within their range, and all of them occur."""
    sizes = Counter()
    for number in range(300):
        kernel = drawn_kernel(BlurConfig(), drawn(number))
        sizes[kernel.shape[0]] += 1
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
        assert float(drawn_sinc(drawn(number)).sum()) == pytest.approx(1, abs=1e-6)
    assert sizes.keys() == set(range(7, 22, 2))


def test_kernels_are_of_their_kinds_as_often_and_as_wide_as_they_say(monkeypatch):
    kinds, cuts = Counter(), {True: [], False: []}

    def drawn_bell(size, sigma, angle, *, kind="gaussian", shape=1.0):
        turned = sigma[0] != sigma[1]
        kinds[kind, turned] += 1
        assert all(0.2 <= one <= 3 for one in sigma)
        assert (angle == 0) == (not turned)
        assert {"gaussian": 1, "generalised": 0.5, "plateau": 1}[kind] <= shape
        assert shape <= {"gaussian": 1, "generalised": 4, "plateau": 2}[kind]
        return torch.ones(1, 1)

    def drawn_cut(size, cutoff):
        cuts[size < 13].append(cutoff)
        return torch.ones(1, 1)

    monkeypatch.setattr("ar_vision.nsarm.degradation.kernels.bell", drawn_bell)
    monkeypatch.setattr("ar_vision.nsarm.degradation.kernels.sinc", drawn_cut)
    count, generator = 6000, drawn()
    for _ in range(count):
        drawn_kernel(BlurConfig(), generator)
    rings = sum(map(len, cuts.values()))
    assert rings / count == pytest.approx(0.1, abs=0.015)
    assert min(cuts[True]) >= math.pi / 3
    assert math.pi / 5 <= min(cuts[False]) < math.pi / 3
    shares = zip(
        (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
        [(k, t) for k in ("gaussian", "generalised", "plateau") for t in (False, True)],
    )
    for share, kind in shares:
        assert kinds[kind] / (count - rings) == pytest.approx(share, abs=0.02)


def test_resizes_enlarge_shrink_and_keep_as_often_as_they_say():
    generator = drawn()
    scales = [_scale(ResizeConfig(), generator) for _ in range(3000)]
    assert min(scales) >= 0.15
    assert max(scales) <= 1.5
    for share, there in (
        (0.2, [s > 1 for s in scales]),
        (0.7, [s < 1 for s in scales]),
        (0.1, [s == 1 for s in scales]),
    ):
        assert sum(there) / 3000 == pytest.approx(share, abs=0.03)


def test_bells_are_as_wide_as_they_say_and_turn():
    size, sigma = 41, 3.0
    place = torch.arange(size).double() - size // 2
    assert float((gaussian(size, sigma) * place[:, None].square()).sum()) == pytest.approx(sigma**2, rel=1e-3)
    wide = bell(size, (4.0, 1.0), 0.0)
    assert float((wide * place[None].square()).sum()) > 5 * float((wide * place[:, None].square()).sum())
    torch.testing.assert_close(bell(size, (4.0, 1.0), math.pi / 2), wide.T)
    torch.testing.assert_close(bell(size, (2.0, 2.0), 0.3, kind="generalised", shape=1.0), gaussian(size, 2.0))
    plateau, broad = bell(9, (2.0, 2.0), 0.0, kind="plateau", shape=2.0), bell(9, (2.0, 2.0), 0.0)
    assert plateau[4, 5] / plateau[4, 4] > broad[4, 5] / broad[4, 4]


def test_the_sinc_lets_low_frequencies_through_and_rings():
    kernel = sinc(21, math.pi / 3)
    assert kernel.min() < 0
    middle = torch.cos(torch.arange(21).double() - 10)
    frequencies = {w: float((kernel * torch.cos(w * (torch.arange(21).double() - 10))).sum()) for w in (0.3, 2.5)}
    assert frequencies[0.3] == pytest.approx(1, abs=0.15)
    assert abs(frequencies[2.5]) < 0.1
    assert middle.isfinite().all()
    assert float(sinc(7, math.pi)[3, 3] / sinc(7, math.pi)[3, 4]) > 1


def test_flat_images_stay_flat_under_blur_and_sharpening():
    flat = torch.full((3, 12, 30), 0.4)
    torch.testing.assert_close(convolved(flat, gaussian(21, 3.0)), flat)
    torch.testing.assert_close(sharpened(flat), flat)
    # A side smaller than the kernel cannot be mirrored.
    torch.testing.assert_close(convolved(flat[:, :4], gaussian(21, 3.0)), flat[:, :4])


def test_sharpening_makes_edges_steeper(photograph):
    image = F.avg_pool2d(photograph.float() / 255, 3, stride=1, padding=1)
    sharp = sharpened(image)
    assert sharp[2].diff(dim=0).abs().max() > 1.1 * image[2].diff(dim=0).abs().max()
    assert 0 <= sharp.min() <= sharp.max() <= 1
    # What differs from its surroundings by less than 10 levels is noise, and stays.
    noise = 0.5 + 4 / 255 * torch.randn(3, 60, 60, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    assert torch.equal(sharpened(noise), noise)


def test_noise_has_its_width_and_may_be_grey():
    image = torch.full((3, 120, 120), 0.5)
    gaussian_noise = NoiseConfig(1.0, (20.0, 20.0), grey_probability=0.0)
    noise = add_noise(image, gaussian_noise, drawn()) - image
    assert float(noise.std()) * 255 == pytest.approx(20, rel=0.05)
    assert not torch.equal(noise[0], noise[1])
    grey = add_noise(image, replace(gaussian_noise, grey_probability=1.0), drawn()) - image
    torch.testing.assert_close(grey[0], grey[1])
    ramp = torch.linspace(0, 1, 256)[None, None].expand(3, 200, 256)
    photons = add_noise(ramp, NoiseConfig(0.0, poisson_scale=(1.0, 1.0), grey_probability=0.0), drawn()) - ramp
    # Counted: its variance is in proportion to the brightness, 1 / 256 of it with as many levels.
    for place in (64, 128):
        variance = float(photons[:, :, place - 8 : place + 8].var())
        assert variance == pytest.approx(place / 256 / 256, rel=0.2)


def test_a_lower_quality_is_further_away(photograph):
    image = photograph.float() / 255
    errors = [float((jpeg(image, quality) - image).square().mean()) for quality in (95, 50, 10)]
    assert errors == sorted(errors)
    assert errors[0] < errors[2] / 4


def test_choices_have_their_shares():
    generator = drawn()
    counts = Counter(chosen((0.2, 0.7, 0.1), generator) for _ in range(3000))
    for number, share in enumerate((0.2, 0.7, 0.1)):
        assert counts[number] / 3000 == pytest.approx(share, abs=0.03)
    assert all(0.5 <= uniform(0.5, 2, generator) <= 2 for _ in range(100))
    assert chosen((0.0, 1.0, 0.0), generator) == 1


def test_the_order_of_the_second_jpeg_is_drawn(photograph, monkeypatch):
    """Half of the samples end with a JPEG, whose blocks then lie on the final image; of the others it comes before the last resize."""
    sizes = []

    def recorded(image, quality):
        sizes.append(tuple(image.shape[1:]))
        return jpeg(image, quality)

    monkeypatch.setattr("ar_vision.nsarm.degradation.degrade.jpeg", recorded)
    second = StageConfig(None, ResizeConfig((1.0, 0.0, 0.0), (1.0, 2.0)), None, (50.0, 50.0))
    nothing = StageConfig(None, None, None, None)
    config = DegradationConfig(sharpen=False, stages=(nothing, second), sinc_probability=0.0)
    for number in range(40):
        degrade(photograph, config, drawn(number))
    assert len(sizes) == 40
    assert 10 <= sum(size == (16, 12) for size in sizes) <= 30
    # The second resize is relative to the final size, the first to the photograph's.
    assert all(16 <= height <= 32 for height, _ in sizes)
    sizes.clear()
    degrade(photograph, replace(config, stages=(second,)), drawn())
    assert 64 <= sizes[0][0] <= 128


def test_a_second_stage_of_noise_alone_works_on_the_small_image_that_was_filtered_once(photograph, monkeypatch):
    seen = []

    def recorded(image, *rest):
        seen.append(tuple(image.shape[1:]))
        return image

    for name in ("add_noise", "convolved", "jpeg"):
        monkeypatch.setattr(f"ar_vision.nsarm.degradation.degrade.{name}", recorded)
    second = StageConfig(None, None, NoiseConfig(), (50.0, 50.0))
    nothing = StageConfig(None, None, None, None)
    degrade(photograph, DegradationConfig(sharpen=False, stages=(nothing, second), sinc_probability=1.0), drawn())
    assert seen == [(16, 12)] * 3


def test_published_settings_are_those_of_the_published_loader():
    first, second = PRESETS["realesrgan"].stages
    assert first.blur == BlurConfig(
        1.0, (7, 21), 0.1, (0.45, 0.25, 0.12, 0.03, 0.12, 0.03), (0.2, 3.0), (0.5, 4.0), (1.0, 2.0)
    )
    assert (second.blur.probability, second.blur.sigma) == (0.8, (0.2, 1.5))
    assert first.resize == ResizeConfig((0.2, 0.7, 0.1), (0.15, 1.5))
    assert second.resize == ResizeConfig((0.3, 0.4, 0.3), (0.3, 1.2))
    assert first.noise == NoiseConfig(0.5, (1.0, 30.0), (0.05, 3.0), 0.4)
    assert second.noise == NoiseConfig(0.5, (1.0, 25.0), (0.05, 2.5), 0.4)
    assert first.jpeg == second.jpeg == (30.0, 95.0)
    assert [PRESETS[name].sinc_probability for name in ("realesrgan", "light", "bicubic")] == [0.8, 0.8, 0.0]
    light = PRESETS["light"]
    assert len(light.stages) == 1
    assert light.jpeg == (60.0, 95.0)
    assert light.stages[0].jpeg is None
    assert light.stages[0].blur == first.blur
    assert light.stages[0].resize == ResizeConfig((0.2, 0.7, 0.1), (0.5, 1.5))
    assert light.stages[0].noise == NoiseConfig(0.3, (1.0, 20.0), (0.05, 2.0), 0.2)
    assert len(SWEEP) >= 6


def test_images_that_cannot_be_degraded_are_refused(photograph):
    with pytest.raises(DataError, match="48 x 62 pixels was given, which does not divide by 4"):
        degrade(photograph[:, :62], PRESETS["light"], drawn())
    with pytest.raises(DataError, match=r"an image of torch\.float32"):
        degrade(photograph.float(), PRESETS["light"], drawn())
    assert degrade(photograph[:, :4, :4], PRESETS["realesrgan"], drawn()).shape == (3, 1, 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: BlurConfig(sizes=(6, 20)), "two ordered odd numbers"),
        (lambda: BlurConfig(shares=(1, 1, 0, 0, 0, 0)), "six shares of sum 1"),
        (lambda: BlurConfig(sigma=(0.0, 1.0)), "blur.sigma is"),
        (lambda: ResizeConfig((0.5, 0.6, 0.1)), "three shares of sum 1"),
        (lambda: ResizeConfig(range=(1.2, 1.5)), "it must hold 1"),
        (lambda: NoiseConfig(sigma=(5.0, 1.0)), "two ordered numbers"),
        (lambda: NoiseConfig(grey_probability=2.0), "must be in"),
        (lambda: StageConfig(jpeg=(0.0, 50.0)), "jpeg is"),
        (lambda: DegradationConfig(stages=(StageConfig(),) * 3), "at most two"),
        (lambda: DegradationConfig(modes=()), "modes is"),
        (lambda: DegradationConfig(factor=0), "factor is 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
