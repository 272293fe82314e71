"""Sizes, places and pixels of every published way from a picture to an image."""

import numpy as np
import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_vision.data import transforms
from ar_vision.data.transforms import Transform, views
from PIL import Image
from PIL.Image import Resampling


def smooth(height: int, width: int) -> np.ndarray:
    """Brightness tells the place: red grows downwards, green to the right."""
    rows, columns = np.meshgrid(np.linspace(0, 255, height), np.linspace(0, 255, width), indexing="ij")
    return np.stack([rows, columns, np.full_like(rows, 40)], -1).astype(np.uint8)


def pillow(picture: np.ndarray, width: int, height: int, how: Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def channels_last(image: torch.Tensor) -> np.ndarray:
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", ["var", "adm_random", "adm_centre", "infinity"])
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (100, 31), (31, 100), (7, 5), (64, 64), (1, 1), (130, 129)])
@pytest.mark.parametrize("rng", [None, SampleRng(3)])
def test_every_picture_becomes_an_image_of_the_size_asked_for(name, size, rng):
    image = Transform(name, (16, 16), flip=True)(smooth(*size), "x", rng, 5)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.uint8


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (24, 24), (33, 200)])
def test_heights_and_widths_may_differ(shape):
    assert Transform("infinity", (12, 20))(smooth(*shape), "x").shape == (3, 12, 20)


def test_none_takes_pictures_of_the_size_and_refuses_others():
    picture = smooth(6, 9)
    assert np.array_equal(channels_last(Transform("none", (6, 9))(picture, "x")), picture)
    with pytest.raises(DataError, match=r"^a/b.png is 9 pixels wide and 6 high, and 6 x 9 are asked for"):
        Transform("none", (9, 6))(picture, "a/b.png")


def test_var_resizes_the_shorter_side_to_nine_eighths_and_crops_the_middle():
    picture = smooth(50, 80)
    scaled = pillow(picture, int(36 * 80 / 50), 36, Resampling.LANCZOS)
    left = round((scaled.shape[1] - 32) / 2)
    assert np.array_equal(channels_last(Transform("var", (32, 32))(picture, "x")), scaled[2:34, left : left + 32])


def test_var_draws_every_place_of_the_crop():
    picture = smooth(36, 36)
    transform, rng = Transform("var", (32, 32)), SampleRng(1)
    corners = set()
    for index in range(400):
        image = channels_last(transform(picture, "x", rng, index))
        top, left = (
            next(place for place in range(5) if np.array_equal(image[..., part], picture[..., part][window(place)]))
            for part, window in (
                (0, lambda place: (slice(place, place + 32), slice(0, 32))),
                (1, lambda place: (slice(0, 32), slice(place, place + 32))),
            )
        )
        corners.add((top, left))
    assert corners == {(top, left) for top in range(5) for left in range(5)}


def test_adm_halves_by_averaging_before_it_interpolates():
    picture = smooth(70, 90)
    halved = pillow(picture, 45, 35, Resampling.BOX)
    scaled = pillow(halved, round(45 * 20 / 35), 20, Resampling.BICUBIC)
    left = (scaled.shape[1] - 20) // 2
    assert np.array_equal(channels_last(Transform("adm_centre", (20, 20))(picture, "x")), scaled[:, left : left + 20])
    assert not np.array_equal(scaled, pillow(picture, scaled.shape[1], 20, Resampling.BICUBIC))


def test_adm_draws_every_size_between_the_side_and_the_smallest_crop(monkeypatch):
    picture, rng, drawn = smooth(100, 100), SampleRng(2), []
    resize = transforms._adm_resize
    monkeypatch.setattr(
        transforms, "_adm_resize", lambda picture, short, *how: (drawn.append(short), resize(picture, short, *how))[1]
    )
    for index in range(300):
        Transform("adm_random", (32, 32))(picture, "x", rng, index)
    # Up to ceil(32 / 0.88) = 37.
    assert set(drawn) == {32, 33, 34, 35, 36, 37}
    assert max(drawn.count(size) for size in set(drawn)) < 2 * min(drawn.count(size) for size in set(drawn))


def test_infinity_covers_and_crops_the_middle():
    wide = smooth(40, 100)
    scaled = pillow(wide, int(100 / 40 * 16), 16, Resampling.LANCZOS)
    left = (scaled.shape[1] - 24) // 2
    assert np.array_equal(channels_last(Transform("infinity", (16, 24))(wide, "x")), scaled[:, left : left + 24])
    high = smooth(100, 40)
    scaled = pillow(high, 24, int(24 / (40 / 100)), Resampling.LANCZOS)
    top = (scaled.shape[0] - 16) // 2
    assert np.array_equal(channels_last(Transform("infinity", (16, 24))(high, "x")), scaled[top : top + 16])


def test_half_of_the_training_images_are_mirrored_and_none_in_an_evaluation():
    picture = smooth(8, 8)
    transform, rng = Transform("none", (8, 8), flip=True), SampleRng(4)
    images = [channels_last(transform(picture, "x", rng, index)) for index in range(400)]
    mirrored = [np.array_equal(image, picture[:, ::-1]) for image in images]
    assert all(one or np.array_equal(image, picture) for one, image in zip(mirrored, images))
    assert 160 < sum(mirrored) < 240
    assert np.array_equal(channels_last(transform(picture, "x")), picture)
    again = [
        np.array_equal(channels_last(transform(picture, "x", SampleRng(4), index)), picture[:, ::-1])
        for index in (9, 3)
    ]
    assert again == [mirrored[9], mirrored[3]]


def test_ten_crop_lists_corners_and_centre_then_those_of_the_mirror_image():
    picture = smooth(35, 35)
    found = views(picture, Transform("adm_centre", (32, 32)), "ten_crop", "x")
    assert found.shape == (10, 3, 32, 32)
    places = [(0, 0), (0, 3), (3, 0), (3, 3), (2, 2)]
    # int(32 * 1.1) is 35, so the source is the picture itself.
    for number, source in enumerate([picture] * 5 + [picture[:, ::-1]] * 5):
        top, left = places[number % 5]
        assert np.array_equal(channels_last(found[number].contiguous()), source[top : top + 32, left : left + 32])
    assert len(views(picture, Transform("adm_centre", (32, 32)), "ten_crop", "x", (1.1, 1.05))) == 20


def test_views_of_one_and_of_flip():
    picture = smooth(20, 30)
    transform = Transform("adm_centre", (16, 16))
    image = transform(picture, "x")
    assert torch.equal(views(picture, transform, "one", "x"), image[None])
    assert torch.equal(views(picture, transform, "flip", "x"), torch.stack([image, image.flip(2)]))


def test_a_picture_like_a_hair_is_refused_before_it_fills_the_memory():
    hair = np.zeros((2, 30_000, 3), np.uint8)
    with pytest.raises(DataError, match=r"hair\.png is 30000 pixels wide and 2 high, too long and thin .* 256 x 256"):
        Transform("adm_centre", (256, 256))(hair, "hair.png")
    with pytest.raises(DataError, match="too long and thin"):
        views(hair, Transform("adm_centre", (256, 256)), "ten_crop", "hair.png")
    assert Transform("adm_centre", (8, 8))(hair, "hair.png").shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["var", "adm_random", "adm_centre", "infinity"])
def test_nearest_pixels_mix_no_values_and_keep_sizes_and_crops(name):
    picture = np.zeros((90, 120, 3), dtype=np.uint8)
    picture[:, 60:] = 255
    rng = SampleRng(1)
    smoothed = [Transform(name, (32, 32))(picture, "x", rng, index) for index in range(8)]
    nearest = [Transform(name, (32, 32), nearest=True)(picture, "x", rng, index) for index in range(8)]
    for one, other in zip(smoothed, nearest):
        assert set(other.unique().tolist()) <= {0, 255}
        # The border lies where it did, up to a pixel.
        assert (one.float().mean() - other.float().mean()).abs() < 255 / 32
