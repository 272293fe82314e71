"""Every mode becomes RGB by the stated rule, and every file that cannot be read is refused by name."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from ar_core.errors import DataError
from ar_core.pictures import MAX_PIXELS, read_picture
from PIL import Image

RGB = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def encoded(image: Image.Image, kind: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that promise any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def composited(colour: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    share = alpha[..., None].astype(float) / 255
    return np.rint(share * colour + (1 - share) * np.array(background))


def same(found: np.ndarray, expected: np.ndarray, tolerance: int = 0) -> None:
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert abs(found.astype(int) - expected.astype(int)).max() <= tolerance


def test_rgb_is_taken_as_it_is(tmp_path):
    same(read_picture(encoded(Image.fromarray(RGB))), RGB)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(RGB)))
    same(read_picture(tmp_path / "a.png"), RGB)


def test_greyscale_and_black_and_white_become_three_equal_channels():
    same(read_picture(encoded(Image.fromarray(GREY))), np.stack([GREY] * 3, -1))
    bits = GREY > 127
    same(read_picture(encoded(Image.fromarray(bits))), np.stack([bits * 255] * 3, -1).astype(np.uint8))


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
def test_transparency_shows_the_background(background):
    alpha = np.random.default_rng(2).integers(0, 256, GREY.shape, dtype=np.uint8)
    rgba = Image.fromarray(np.dstack([RGB, alpha]))
    same(read_picture(encoded(rgba), background=background), composited(RGB, alpha, background), 1)
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    expected = composited(np.stack([GREY] * 3, -1), alpha, background)
    same(read_picture(encoded(la), background=background), expected, 1)


def test_a_palette_is_looked_up_and_its_transparent_colour_shows_the_background():
    image = Image.new("P", (3, 2))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 2, 1, 0])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
    expected = colours[[[0, 1, 2], [2, 1, 0]]]
    same(read_picture(encoded(image)), expected)
    expected[expected[..., 1] == 255] = (7, 8, 9)
    for kind in ("png", "gif"):
        same(read_picture(encoded(image, kind, transparency=1), background=(7, 8, 9)), expected)
    # Half transparent entries, as PNG has them.
    half = read_picture(encoded(image, transparency=bytes([255, 128, 255])), background=(0, 0, 0))
    assert half[0, 1].tolist() == [0, 128, 0]


def test_the_transparent_colour_of_rgb_and_greyscale_shows_the_background():
    colour = tuple(int(part) for part in RGB[2, 3])
    expected = RGB.copy()
    expected[(RGB[2, 3] == RGB).all(-1)] = (1, 2, 3)
    same(read_picture(encoded(Image.fromarray(RGB), transparency=colour), background=(1, 2, 3)), expected)
    expected = np.stack([GREY] * 3, -1)
    expected[GREY[0, 0] == GREY] = (1, 2, 3)
    data = encoded(Image.fromarray(GREY), transparency=int(GREY[0, 0]))
    same(read_picture(data, background=(1, 2, 3)), expected)


def test_cmyk_is_converted_and_its_profile_ignored():
    image = Image.fromarray(RGB).convert("CMYK")
    same(read_picture(encoded(image, "tiff")), RGB)
    same(read_picture(encoded(image, "tiff", icc_profile=b"not a profile")), RGB)
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    same(read_picture(encoded(flat, "jpeg", quality=95)), np.full((16, 16, 3), (255, 0, 0), dtype=np.uint8), 3)


@pytest.mark.parametrize("kind", ["png", "tiff", "ppm"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.array([[0, 1, 128, 129, 257], [300, 30000, 65000, 65534, 65535]], dtype=np.uint16)
    if kind == "ppm":
        data = b"P5\n5 2\n65535\n" + values.astype(">u2").tobytes()
    else:
        data = encoded(Image.fromarray(values), kind)
    expected = np.rint(values / 257).astype(np.uint8)
    assert expected.max() == 255
    assert len(np.unique(expected)) == 5
    same(read_picture(data), np.stack([expected] * 3, -1))


@pytest.mark.parametrize("values", [np.float32, np.int32])
def test_values_without_a_scale_are_refused(values):
    data = encoded(Image.fromarray(np.arange(6, dtype=values).reshape(2, 3)), "tiff")
    with pytest.raises(DataError, match=r"^set 3 has the mode '[FI]'.*8 or 16 bits"):
        read_picture(data, "set 3")


@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, 3), (8, 1)])
def test_orientation_is_applied(orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    same(read_picture(encoded(Image.fromarray(RGB), exif=exif)), np.rot90(RGB, turned))


def test_a_damaged_exif_block_leaves_the_picture_as_it_is():
    same(read_picture(encoded(Image.fromarray(RGB), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff\xff")), RGB)


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    found = read_picture(data)
    same(found, np.full((8, 8, 3), (250, 0, 0), dtype=np.uint8), 8)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "tiff", "bmp"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused_by_name(kind, kept):
    noise = np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DataError, match=r"^/data/x 7 is (truncated|no picture)") as caught:
        read_picture(data[: int(len(data) * kept)], "/data/x 7")
    assert "\n" not in str(caught.value)


def test_a_png_whose_bytes_changed_is_refused():
    data = encoded(Image.fromarray(RGB))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        try:
            found = read_picture(bytes(changed))
        except DataError:
            continue
        # A chunk's name may change the case of a letter that only says whether it is needed.
        same(found, RGB)


def test_a_changed_byte_never_raises_anything_else():
    noise = np.random.default_rng(4).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    draw = np.random.default_rng(5)
    for kind in ("jpeg", "gif", "webp", "tiff", "bmp", "ppm"):
        data = encoded(Image.fromarray(noise), kind)
        for _ in range(60):
            changed = bytearray(data)
            changed[int(draw.integers(len(data)))] = int(draw.integers(256))
            try:
                found = read_picture(bytes(changed))
            except DataError as error:
                assert str(error).startswith("the picture ")  # noqa: PT017
            else:
                assert found.ndim == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "no picture in a format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no picture in a format"),
        (png_of_size(0, 5), "no picture|truncated|wide"),
        (png_of_size(20000, 20000), "at most"),
        (png_of_size(9500, 9500), f"at most {MAX_PIXELS}"),
        (png_of_size(3, 5), "truncated or damaged"),
    ],
)
def test_other_bytes_are_refused(data, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read_picture(data, "pile.tar, 0012")
    assert str(caught.value).startswith("pile.tar, 0012 ")


def test_a_missing_file_is_refused_by_its_path(tmp_path):
    for path, reason in (
        (tmp_path / "none.png", r"cannot be read \(No such file"),
        (tmp_path, "is a folder: give a file"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            read_picture(path)
        assert str(path) in str(caught.value)


def test_records_that_name_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        ("/dev/zero", "a device or a pipe"),
        (tmp_path / "pipe", "a device or a pipe"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(DataError, match=reason):
            read_picture(Path(path))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "I;16", "CMYK"])
def test_bands_are_the_whole(mode, monkeypatch):
    """A picture that is converted some rows at a time is the one that is converted at once."""
    ramp = np.arange(13 * 9 * 3, dtype=np.uint8).reshape(13, 9, 3)
    image = (
        Image.fromarray(ramp).convert(mode) if mode != "I;16" else Image.fromarray(ramp[..., 0].astype(np.uint16) * 257)
    )
    data = encoded(image, "tiff" if mode == "CMYK" else "png")
    whole = read_picture(data, background=(1, 2, 3))
    for at_once in (1, 30, 9 * 12):
        monkeypatch.setattr("ar_core.pictures.AT_ONCE", at_once)
        same(read_picture(data, background=(1, 2, 3)), whole)
