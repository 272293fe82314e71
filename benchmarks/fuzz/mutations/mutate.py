"""One input out of others: which file is changed, in which of the ways of its format, how often."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeAlias

from ..loader import Files
from .archives import changed_gzip, changed_tar, changed_zip, gzip_bomb
from .json_text import changed_json, changed_lines
from .pickles import changed_torch_file
from .pictures import changed_png, picture_bomb
from .raw import damaged
from .tables import changed_parquet
from .tensors import changed_npy, changed_safetensors
from .text import changed_arpa, changed_plain_text, changed_yaml

__all__ = ["mutated"]

Change: TypeAlias = Callable[[bytes, Random], bytes | None]

LARGEST = 2 << 20
"""Bytes of a file; bombs are smaller."""


def mutated(inputs: Sequence[Files], random: Random) -> Files:
    """A hostile input: one of those given, changed one to six times.

    Args:
        inputs: valid ones, and those that were worth keeping.
        random: decides; the same inputs and generator give the same files.
    """
    # Half of the time one of the last that were kept, which reached something new.
    recent = inputs[-16:] if random.random() < 0.5 else inputs
    files = dict(random.choice(recent))
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        if not files:
            break
        name = random.choice(list(files))
        way = random.random()
        if way < 0.02:
            del files[name]
        elif way < 0.04 and len(files) > 1:
            files[name] = files[random.choice(list(files))]
        elif way < 0.045:
            files[name] = b""
        else:
            other = random.choice(inputs).get(name, b"")
            files[name] = _changed(name, files[name], random, other)[:LARGEST]
    return files


def _changed(name: str, data: bytes, random: Random, other: bytes) -> bytes:
    change = _of_format(name)
    if change is None or random.random() < 0.25:
        return damaged(data, random, other)
    try:
        made = change(data, random)
    except Exception:
        # What was changed before may be of no form that this way can change.
        made = None
    return damaged(data, random, other) if made is None else made


def _of_format(name: str) -> Change | None:
    return next((change for suffix, change in FORMATS.items() if name.endswith(suffix)), None)


def _inside(name: str, random: Random) -> Callable[[bytes], bytes]:
    return lambda content: _changed(name, content, random, b"")


def _jsonl_gz(data: bytes, random: Random) -> bytes:
    if random.random() < 0.01:
        return gzip_bomb(random, b'{"image": "a.png", "text": "a", "label": 1}')
    return changed_gzip(data, random, _inside("x.jsonl", random))


def _arpa_gz(data: bytes, random: Random) -> bytes:
    if random.random() < 0.01:
        return gzip_bomb(random, b"-1 1 0")
    return changed_gzip(data, random, _inside("x.arpa", random))


def _npz(data: bytes, random: Random) -> bytes:
    return changed_zip(data, random, _inside("x.npy", random))


def _png(data: bytes, random: Random) -> bytes:
    return picture_bomb(random) if random.random() < 0.004 else changed_png(data, random)


def _tar(data: bytes, random: Random) -> bytes:
    return changed_tar(data, random, lambda name, content: _changed(name, content, random, b""))


FORMATS: Mapping[str, Change] = {
    ".jsonl.gz": _jsonl_gz,
    ".arpa.gz": _arpa_gz,
    ".jsonl": changed_lines,
    ".partial": changed_lines,
    ".job": changed_json,
    ".json": changed_json,
    ".yaml": changed_yaml,
    ".arpa": changed_arpa,
    ".txt": changed_plain_text,
    ".cls": changed_plain_text,
    ".safetensors": changed_safetensors,
    ".npy": changed_npy,
    ".npz": _npz,
    ".pth": changed_torch_file,
    ".pt": changed_torch_file,
    "mm_projector.bin": changed_torch_file,
    ".png": _png,
    ".tar": _tar,
    ".parquet": changed_parquet,
}
"""Ways of changing a file by the end of its name; the first that fits."""
