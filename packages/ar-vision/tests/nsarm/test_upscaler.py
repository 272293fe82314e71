"""Photographs of any size: tiles, blending, colours, seams."""

import pytest
import torch
from ar_core.errors import ConfigError, DataError
from ar_vision.nsarm.colour import adain, corrected, low_band, wavelet
from ar_vision.nsarm.decode import NsarmOptions, upscale
from ar_vision.nsarm.seams import blend_ratio, seam_ratio
from ar_vision.nsarm.tiling import Axis, Canvas, padded_to_tile, tile_plan
from ar_vision.nsarm.upscaler import Tiling, Upscaler
from ar_vision.pixels import to_bytes, to_signed
from ar_vision.text.text import Text


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (1, 1), (3, 30), (17, 23), (9, 7)])
@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_shares_have_the_sum_one_everywhere(size, overlap):
    """Oracle 11."""
    plan = tile_plan(*size, tile=4, overlap=overlap)
    canvas = Canvas(plan, 3)
    for _, row, column in plan.places():
        canvas.add(torch.ones(3, 12, 12), row, column)
    assert canvas.image.shape == (3, max(4, size[0]) * 3, max(4, size[1]) * 3)
    torch.testing.assert_close(canvas.image, torch.ones_like(canvas.image), atol=1e-6, rtol=0)
    assert plan.overlap >= overlap


def test_tiles_cover_the_image_evenly_and_end_with_it():
    axis = Axis.over(1000, 256, 64)
    assert axis.starts[0] == 0
    assert axis.starts[-1] == 1000 - 256
    steps = [after - before for before, after in zip(axis.starts, axis.starts[1:])]
    assert max(steps) <= 192
    assert max(steps) - min(steps) <= 1
    assert len(axis.starts) == 5
    assert Axis.over(256, 256, 64).starts == (0,)
    # A stride of 192, as few tiles as that allows.
    assert Axis.over(448, 256, 64).starts == (0, 192)
    with pytest.raises(ConfigError, match="overlap is 3 and a tile has 4 pixels a side: give 0 to 2"):
        tile_plan(10, 10, 4, 3)


def test_a_share_rises_over_the_overlap_without_a_step():
    axis = Axis.over(448, 256, 64)
    first, second = axis.weights(1)
    assert torch.equal(first[:192], torch.ones(192))
    assert float(first.diff().abs().max()) < 1 / 60
    torch.testing.assert_close(first[192:] + second[:64], torch.ones(64))


@pytest.fixture
def upscaler(nsarm, tokenizer):
    return Upscaler(nsarm, tokenizer, NsarmOptions(temperature=(1.0,)), Tiling(colour="none", batch_size=3))


def photograph(height, width, seed=0):
    return torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture
def words(text):
    return text.features[2][text.valid[2]]


def test_an_image_of_one_tile_is_the_untiled_result(upscaler, nsarm, tokenizer, words):
    """Oracle 11."""
    low = photograph(4, 4)
    found = upscaler(low, words, seed=9)
    plain = upscale(nsarm, tokenizer, to_signed(low)[None], Text.of([words]), upscaler.options, seed=9)
    assert torch.equal(found.image, to_bytes(plain.images[0]))
    assert found.plan.count == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (11, 6)])
def test_photographs_of_any_size_and_shape_are_upscaled(upscaler, words, size):
    found = upscaler(photograph(*size), words)
    assert found.image.shape == (3, 4 * size[0], 4 * size[1])
    assert {"map", "scale", "pixels", "blend", "colour"} <= found.stats.seconds.keys()


def test_a_tile_depends_on_its_place_and_pixels_and_not_on_its_batch(nsarm, tokenizer, words):
    low = photograph(7, 9)
    results = [
        Upscaler(nsarm, tokenizer, NsarmOptions(temperature=(1.0,)), Tiling(colour="none", batch_size=size))(
            low, words, 3
        ).image
        for size in (1, 5)
    ]
    assert (results[0].int() - results[1].int()).abs().max() <= 1
    # Two equal tiles of one image have draws of their own.
    twice = low[:, :4, :4].repeat(1, 1, 2)
    apart = Upscaler(nsarm, tokenizer, NsarmOptions(temperature=(1.0,)), Tiling(overlap=0, colour="none"))(twice, words)
    assert not torch.equal(apart.image[:, :, :16], apart.image[:, :, 16:])


def test_results_beyond_the_limit_are_refused_before_anything_runs(upscaler, words):
    with pytest.raises(
        DataError, match="5000 x 2000 pixels was given, whose result would have more than 89478485 pixels"
    ):
        upscaler.require(2000, 5000)
    upscaler.require(700, 1000)


def test_padding_mirrors_again_and_again():
    low = torch.tensor([[[1, 2]]]).repeat(3, 1, 1)
    assert padded_to_tile(low, 5)[0].tolist() == [[1, 2, 2, 1, 1]] * 5
    assert padded_to_tile(low, 1) is low


def test_adain_takes_over_mean_and_deviation():
    """Oracle 9: within 1e-5."""
    generator = torch.Generator().manual_seed(0)
    image, low = torch.rand(3, 40, 48, generator=generator), torch.rand(3, 10, 12, generator=generator) * 0.5 + 0.2
    found = adain(image, low)
    torch.testing.assert_close(found.mean((1, 2)), low.mean((1, 2)), atol=1e-5, rtol=0)
    for ours, theirs, own in zip(found, low, image):
        # The published epsilon is inside both roots.
        expected = (theirs.var() + 1e-5).sqrt() * own.std() / (own.var() + 1e-5).sqrt()
        assert float(ours.std()) == pytest.approx(float(expected), abs=1e-5)


def test_the_wavelet_correction_of_an_image_by_itself_is_the_identity():
    """Oracle 9: within 1e-5; low bands come from the reference, details from the image."""
    image = torch.rand(3, 70, 50, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(wavelet(image, image), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(low_band(torch.full((3, 9, 9), 0.3)), torch.full((3, 9, 9), 0.3))
    # Of five levels, each twice as wide: a kernel [1 2 1; 2 4 2; 1 2 1] / 16 with holes.
    point = torch.zeros(3, 9, 9)
    point[:, 4, 4] = 1
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    torch.testing.assert_close(low_band(point, 1)[0, 3:6, 3:6], expected)
    found = wavelet(image, torch.zeros_like(image))
    torch.testing.assert_close(found, image - low_band(image))


def test_the_wavelet_correction_is_that_of_five_dilated_blurs_and_comes_after_adain():
    generator = torch.Generator().manual_seed(5)
    image, low = torch.rand(3, 64, 48, generator=generator), torch.rand(3, 16, 12, generator=generator)
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).view(1, 1, 3, 3) / 16

    def bands(x):
        high = torch.zeros_like(x)
        for hole in (1, 2, 4, 8, 16):
            padded = torch.nn.functional.pad(x[:, None], (hole,) * 4, mode="replicate")
            blurred = torch.nn.functional.conv2d(padded, kernel, dilation=hole)[:, 0]
            high, x = high + (x - blurred), blurred
        return high, x

    reference = torch.nn.functional.interpolate(low[None], scale_factor=4, mode="bicubic").clamp(0, 1)[0]
    expected = bands(image)[0] + bands(reference)[1]
    torch.testing.assert_close(wavelet(image, reference), expected, atol=1e-5, rtol=0)
    both = wavelet(adain(image, reference), reference).clamp(0, 1)
    torch.testing.assert_close((corrected(2 * image - 1, 2 * low - 1, "both") + 1) / 2, both, atol=1e-5, rtol=0)
    assert (both - adain(wavelet(image, reference), reference)).abs().max() > 1e-3


def test_colours_of_the_whole_image_are_those_of_the_small_one():
    low = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2)) - 0.5
    tinted = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(3)) * 0.2 + torch.tensor(
        [0.5, -0.5, 0.0]
    ).view(3, 1, 1)
    for how in ("adain", "wavelet", "both"):
        found = corrected(tinted, low, how)
        torch.testing.assert_close(found.mean((1, 2)), low.mean((1, 2)), atol=0.05, rtol=0)
    assert torch.equal(corrected(tinted, low, "none"), tinted)


def test_seams_are_seen_where_there_are_some():
    plan = tile_plan(8, 12, 4, 0)
    noise = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(4))
    assert seam_ratio(noise, plan, 4) == pytest.approx(1, abs=0.2)
    tinted = noise.clone()
    tinted[:, :, 16:32] += 3
    assert seam_ratio(tinted, plan, 4) > 3
    assert seam_ratio(noise, tile_plan(4, 4, 4, 0), 4) == 1


def test_bands_of_blended_tiles_are_softer_where_tiles_disagree():
    plan = tile_plan(64, 112, 32, 16)
    assert tile_plan(7, 10, 4, 1).columns.bands(2) == [(6, 8), (12, 14)]
    generator = torch.Generator().manual_seed(6)
    whole = torch.rand(3, 256, 448, generator=generator)
    agreeing, apart = Canvas(plan, 4), Canvas(plan, 4)
    for _, row, column in plan.places():
        top, left = plan.rows.starts[row] * 4, plan.columns.starts[column] * 4
        agreeing.add(whole[:, top : top + 128, left : left + 128], row, column)
        apart.add(torch.rand(3, 128, 128, generator=generator), row, column)
    assert blend_ratio(agreeing.image, plan, 4) == pytest.approx(1, abs=0.02)
    assert blend_ratio(apart.image, plan, 4) < 0.95
    # Which the step across edges does not tell.
    assert seam_ratio(apart.image, plan, 4) > 0.95
    assert blend_ratio(whole, tile_plan(64, 96, 32, 0), 4) == 1
    assert blend_ratio(whole[:, :128, :128], tile_plan(32, 32, 32, 8), 4) == 1


def test_settings_out_of_range_are_refused(nsarm, tokenizer):
    for settings, sentence in (
        ({"overlap": -1}, "overlap is -1"),
        ({"colour": "grey"}, "colour is 'grey'; choose one of both, adain, wavelet, none"),
        ({"batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Tiling(**settings)
    with pytest.raises(ConfigError, match="overlap is 3 and a tile has 4"):
        Upscaler(nsarm, tokenizer, NsarmOptions(), Tiling(overlap=3))
