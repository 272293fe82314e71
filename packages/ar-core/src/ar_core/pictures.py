"""A picture as a file holds it, to RGB: one way for every mode, and one sentence for every file that cannot be read.

Needs the extra ``pictures``.
"""

import io
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from .errors import DataError, MissingPackageError

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise MissingPackageError(
        "ar_core.pictures needs pillow, which is not installed: pip install 'ar-core[pictures]'."
    ) from error

__all__ = ["MAX_PIXELS", "WHITE", "read_picture", "rgb_pixels"]

MAX_PIXELS = 89_478_485
"""Most pixels of a picture: 256 MiB of RGB, where Pillow begins to warn of decompression bombs."""
MOST_OF_FORMAT = {"WEBP": MAX_PIXELS // 2}
"""Of formats whose decoders hold a picture several times."""
AT_ONCE = 1 << 22
"""Pixels that are converted at a time: what conversions need beside a picture is then little, however large it is."""
WHITE = (255, 255, 255)
"""What shows through where a picture is transparent, RGB."""

_TRANSPARENT = ("LA", "PA", "RGBA", "RGBa")
_OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
# 32-bit containers that Pillow opens files of these formats in hold at most 16 bits.
_SIXTEEN_BITS = ("PNG", "PPM")


def read_picture(
    data: bytes | Path, place: str | None = None, *, background: tuple[int, int, int] = WHITE
) -> np.ndarray:
    """Decode a picture.

    Greyscale becomes three equal channels; transparency (alpha, or the transparent colour of a palette or PNG) is composited on
    ``background``; 16-bit greyscale is scaled to 8 bits, 65535 to 255, and of 16-bit colour the upper 8 bits are taken; CMYK is
    converted by Pillow's formula. Colour profiles (ICC) are ignored, whatever the mode. The EXIF orientation is applied, unless
    the EXIF block is damaged. Of an animation the first frame is taken. A JPEG file that is damaged but complete may decode
    into wrong pixels, which no decoder notices; damaged PNG files are noticed by their checksums.

    Args:
        data: the bytes of the file, or its path.
        place: what names the picture in messages; the path if None.
        background: what shows through, RGB.

    Returns:
        uint8 [H, W, 3].

    Raises:
        DataError: the file is missing, empty, truncated or damaged, in no known format, of a mode that has no one meaning in
            RGB (floating point, 32-bit integers, Lab), or larger than :data:`MAX_PIXELS`.
    """
    place = str(data) if place is None and isinstance(data, Path) else place or "the picture"
    if isinstance(data, Path):
        try:
            # A device has no end, and a pipe may never begin: records of strangers may name them.
            mode = data.stat().st_mode
            if not stat.S_ISREG(mode):
                found = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
                raise DataError(f"{place} is {found}: give a file")
            data = data.read_bytes()
        except OSError as error:
            raise DataError(f"{place} cannot be read ({error.strerror}): correct the path") from error
        except DataError:
            raise
        except ValueError as error:
            # A null character, or half a character.
            raise DataError(f"{place} cannot be read ({error}): correct the path") from error
    if not data:
        raise DataError(f"{place} is empty (0 bytes): fetch it again, or remove it from the data")
    try:
        return _decoded(data, place, background)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{place} is no picture in a format that Pillow knows, or its header is damaged: give PNG, JPEG, WebP, ..., or "
            "remove it from the data"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(place, "far more")) from error
    except Exception as error:
        # Decoders of damaged files raise errors of any kind.
        raise DataError(
            f"{place} is truncated or damaged ({str(error) or type(error).__name__}): fetch it again, or remove it from the data"
        ) from error


def _decoded(data: bytes, place: str, background: tuple[int, int, int]) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise DataError(f"{place} is {width} pixels wide and {height} high: remove it from the data")
        if width * height > MOST_OF_FORMAT.get(str(image.format), MAX_PIXELS):
            raise DataError(_too_large(place, f"{width} x {height}"))
        if image.format == "PNG":
            # Loading checks no checksum, and verifying uses the file up.
            with Image.open(io.BytesIO(data)) as again:
                again.verify()
        image.load()
        # A damaged EXIF block says nothing about the pixels.
        with suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        return rgb_pixels(image, place, background)


def rgb_pixels(image: Image.Image, place: str, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """Convert a decoded picture of any mode, as :func:`read_picture` says.

    Returns:
        uint8 [H, W, 3].

    Raises:
        DataError: its mode has no one meaning in RGB.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return _in_bands(image, np.array)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS):
        return _in_bands(image, lambda band: _sixteen_bits(band, background))
    if image.mode not in _TRANSPARENT + _OPAQUE:
        raise DataError(
            f"{place} has the mode {image.mode!r}, whose values do not say what is black and what white: save it with 8 or 16 "
            "bits a channel, in greyscale or RGB"
        )
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        return _in_bands(image, lambda band: _composited(band, background))
    return _in_bands(image, lambda band: np.array(band.convert("RGB")))


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Convert a picture some rows at a time."""
    width, height = image.size
    rows = max(1, AT_ONCE // max(1, width))
    if rows >= height:
        return convert(image)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return pixels


def _composited(image: Image.Image, background: tuple[int, int, int]) -> np.ndarray:
    ground = Image.new("RGBA", image.size, (*background, 255))
    return np.array(Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB"))


def _sixteen_bits(image: Image.Image, background: tuple[int, int, int]) -> np.ndarray:
    values = np.array(image).astype(np.uint32)
    pixels = np.repeat(((values + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels[values == transparent] = background
    return pixels


def _too_large(place: str, size: str) -> str:
    return f"{place} has {size} pixels and at most {MAX_PIXELS} are read, since larger files are mostly traps: scale it down"
