"""Zip, gzip and tar files with hostile members, names and sizes."""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from .raw import damaged

__all__ = ["changed_gzip", "changed_tar", "changed_zip", "gzip_bomb"]

NAMES = (
    "../outside",
    "/etc/passwd",
    "..\\x",
    "a" * 300,
    "",
    "\n",
    "images.npy",
    "arr_0.npy",
    "labels",
    "a/b/c",
    "data.pkl",
    "\u202e",
)
BOMB = 48 << 20
"""Bytes that a bomb expands to; it takes about a thousandth of that."""


def changed_zip(data: bytes, random: Random, inside: Callable[[bytes], bytes]) -> bytes:
    """One change in an archive: a member's content (by ``inside``), name, way of compression, or the bytes themselves."""
    way = random.randrange(8)
    if way == 0:
        return damaged(data, random)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error):
        return damaged(data, random)
    if not members:
        return damaged(data, random)
    at = random.randrange(len(members))
    name, content = members[at]
    if way == 1:
        members[at] = (random.choice(NAMES), content)
    elif way == 2:
        members.append((name, inside(content)))
    elif way == 3:
        del members[at]
    else:
        members[at] = (name, inside(content))
    packing = zipfile.ZIP_DEFLATED if way == 4 else zipfile.ZIP_STORED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members:
            # A second member of a name is allowed, and warned of.
            archive.writestr(zipfile.ZipInfo(name or "x"), content, packing)
    made = file.getvalue()
    if way == 5:
        # What the directory says of sizes, flags and methods.
        start = made.rfind(b"PK\x01\x02")
        return made[:start] + damaged(made[start:], random)
    return made


def changed_gzip(data: bytes, random: Random, inside: Callable[[bytes], bytes]) -> bytes:
    """One change in what is compressed (by ``inside``), or in the stream."""
    way = random.randrange(5)
    if way == 0:
        return damaged(data, random)
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return damaged(data, random)
    made = gzip.compress(inside(content), 1, mtime=0)
    if way == 1:
        return made + random.choice((b"garbage", made, b"\x1f\x8b", bytes(100)))
    return made


def gzip_bomb(random: Random, line: bytes) -> bytes:
    """A small stream that becomes one huge line, or very many lines."""
    content = random.choice((line[:1] * BOMB, (line + b"\n") * (BOMB // 4 // (len(line) + 1))))
    return gzip.compress(content, 9, mtime=0)


def changed_tar(data: bytes, random: Random, inside: Callable[[str, bytes], bytes]) -> bytes:
    """One change in a tar file: a member's content, name, type, size or header, with checksums made to fit."""
    way = random.randrange(9)
    if way == 0:
        return damaged(data, random)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = [(member.name, archive.extractfile(member).read()) for member in archive if member.isfile()]  # type: ignore[union-attr]
    except (tarfile.TarError, OSError, ValueError, EOFError, UnicodeError, OverflowError):
        return damaged(data, random)
    if not members:
        return damaged(data, random)
    at = random.randrange(len(members))
    kinds = [tarfile.REGTYPE] * len(members)
    name, content = members[at]
    if way == 1:
        stem, _, extension = name.partition(".")
        names = (
            f"../{name}",
            f"/etc/{name}",
            f"{stem}.{'x' * 200}",
            f"{stem}.PNG",
            f"{stem}.cls",
            stem,
            f".{extension}",
            name * 8,
        )
        members[at] = (random.choice(names), content)
    elif way == 2:
        kinds[at] = random.choice((b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"x", b"g", b"L", b"K", b"Z"))
    elif way == 3:
        members.append(members[at])
        kinds.append(tarfile.REGTYPE)
    elif way == 4:
        del members[at], kinds[at]
    else:
        members[at] = (name, inside(name, content))
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", format=random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    ) as archive:
        for (name, content), kind in zip(members, kinds):
            info = tarfile.TarInfo(name[:90])
            info.size, info.type = len(content), kind
            if kind in (b"1", b"2"):
                info.linkname = "../outside.png"
            archive.addfile(info, io.BytesIO(content))
    made = bytearray(file.getvalue())
    if way == 5:
        # A size that is not there, in octal digits or in the binary form, under a checksum that fits.
        size = random.choice(
            (
                b"77777777777\0",
                b"00000000001\0",
                b"\x80" + b"\0" * 3 + b"\xff" * 8,
                b"\xff" * 12,
                b"-0000000001\0",
                b" " * 12,
            )
        )
        start = random.choice(
            [place for place in range(0, len(made), 512) if made[place + 257 : place + 262] == b"ustar"] or [0]
        )
        made[start + 124 : start + 136] = size
        made[start + 148 : start + 156] = b" " * 8
        made[start + 148 : start + 156] = b"%06o\0 " % sum(made[start : start + 512])
    return bytes(made)
