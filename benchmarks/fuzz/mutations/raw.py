"""Damage that any bytes can have."""

import struct
from random import Random

__all__ = ["NUMBERS", "damaged"]

NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    -(2**63),
)
"""At which arithmetic breaks."""
NOT_UTF8 = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xfe\xff", b"\x00", b"\xef\xbb\xbf")
MOST = 1 << 20


def damaged(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """Damage bytes in one way.

    Args:
        data: what is damaged.
        random: decides.
        other: of another input, for splicing.
    """
    way = random.randrange(11)
    size = len(data)
    at = random.randrange(size + 1)
    end = min(size, at + random.choice((1, 2, 4, 8, 16, 64, 512, 4096)))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[at:]
    if way in (2, 3) and size:
        # Headers lie in front.
        near = min(size, 128) if way == 2 else size
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 1, 2, 8, 32))):
            changed[random.randrange(near)] ^= 1 << random.randrange(8)
        return bytes(changed)
    if way == 4:
        return data[:at] + data[end:]
    if way == 5:
        return (data[:end] + data[at:end] * random.choice((1, 2, 50)) + data[end:])[:MOST]
    if way == 6:
        to = random.randrange(size + 1)
        return data[:to] + data[at:end] + data[to + end - at :]
    if way == 7:
        kind = random.choice(("<B", "<H", "<I", "<Q", ">H", ">I", ">Q"))
        width = struct.calcsize(kind)
        return data[:at] + struct.pack(kind, random.choice(NUMBERS) % 256**width) + data[at + width :]
    if way == 8:
        return data[:at] + random.choice((random.randbytes(end - at), random.choice(NOT_UTF8))) + data[at:]
    if way == 9 and other:
        return (data[:at] + other[random.randrange(len(other)) :])[:MOST]
    return data + random.choice((b"\x00", b"\n", b"garbage", random.randbytes(64), data[: MOST // 2]))
