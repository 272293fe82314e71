"""Pictures that lie about their size, expand to far more than they are, or break inside a chunk."""

import io
import struct
import warnings
import zlib
from random import Random

from PIL import Image

from .raw import NUMBERS, damaged

__all__ = ["changed_png", "picture_bomb"]

SIDES = (0, 1, 7, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 9459, 30_000)


def changed_png(data: bytes, random: Random) -> bytes:
    """One change in a PNG's chunks, whose checksums fit afterwards."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if data[:4] != b"\x89PNG" or not chunks:
        return damaged(data, random)
    at = random.randrange(len(chunks))
    kind, content = chunks[at]
    way = random.randrange(7)
    if way == 0 and len(content) >= 8:
        content = struct.pack(">II", random.choice(SIDES), random.choice(SIDES)) + content[8:]
    elif way == 1:
        content = damaged(content, random)
    elif way == 2:
        kind = random.choice(
            (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fcTL", b"IEND", b"\0\0\0\0")
        )
    elif way == 3:
        chunks.insert(at, random.choice(chunks))
    elif way == 4:
        del chunks[at]
    elif way == 5:
        bomb = zlib.compress(bytes(8 << 20), 9)
        chunks.insert(
            1, random.choice(((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"iTXt", b"a\0\1\0\0\0" + bomb)))
        )
    else:
        content = content[:8] + bytes(random.choice(NUMBERS) % 256 for _ in content[8:13]) + content[13:]
    if way in (0, 1, 2, 6):
        chunks[at] = (kind, content)
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def picture_bomb(random: Random) -> bytes:
    """A file of some kilobytes that claims, and has, tens of millions of pixels."""
    side = random.choice((4000, 8000, 9400, 12_000))
    mode = random.choice(("L", "RGB", "RGBA", "LA", "P", "1", "I;16"))
    kind = random.choice(("PNG", "PNG", "GIF", "TIFF"))
    mode = {"GIF": "P", "TIFF": "L"}.get(kind, mode)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Few rows are drawn: what is black compresses to almost nothing.
        Image.new(mode, (side, side)).save(file, kind, **({"compression": "tiff_deflate"} if kind == "TIFF" else {}))
    return file.getvalue()
