"""Torch files that carry code, that lie about their tensors, or that are damaged inside."""

import io
import os
import pickle
import zipfile
from random import Random
from typing import Any

from ..guard import MARK
from .archives import changed_zip
from .raw import damaged

__all__ = ["changed_torch_file", "code_carrying"]


class _Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


PAYLOADS = (
    _Call(os.system, f"touch {MARK}"),
    _Call(eval, f"open('../{MARK}', 'w')"),
    _Call(exec, f"open('../{MARK}', 'w').write('{MARK}')"),
    _Call(open, f"../{MARK}", "w"),
    _Call(os.mkdir, f"../{MARK}"),
    _Call(getattr, os, "system"),
    _Call(__import__, "antigravity"),
)
TEXTS = (
    f"cos\nsystem\n(S'touch {MARK}'\ntR.".encode(),
    f"cbuiltins\nexec\n(S'{MARK}'\ntR.".encode(),
    b"ctorch.serialization\nload\n(S'x'\ntR.",
    b"ctorch\n_utils._rebuild_tensor_v2\n(tR.",
    b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI2\ntR.",
    b"ctorch._utils\n_rebuild_parameter\n(NI01\nNtR.",
    b"ccollections\nOrderedDict\n)R(S'a'\nI1\nu.",
    b"ctorch\nFloatStorage\n.",
    b"cargparse\nNamespace\n)\x81}S'__class__'\nS'x'\nsb.",
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u.",
    b"\x80\x02" + b"(" * 5000 + b".",
    b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
    b"\x80\x02X\xff\xff\xff\x7fa.",
    b"\x80\x02r\xff\xff\xff\x7f.",
    b"\x80\x02}(h\x00u.",
    b"\x80\x0f.",
    b"I" + b"9" * 6000 + b"\n.",
)
"""In the text form of protocol 0, and single commands with impossible lengths."""


def code_carrying(random: Random) -> bytes:
    """A pickle that would run code, alone or inside a torch archive."""
    if random.random() < 0.4:
        text = random.choice(TEXTS)
    else:
        payload: Any = random.choice(PAYLOADS)
        wrapped = random.choice(
            (payload, {"weight": payload}, [payload], {"model": {"a": payload}}, {payload.function: 1})
        )
        text = pickle.dumps(wrapped, protocol=random.randrange(pickle.HIGHEST_PROTOCOL + 1))
    if random.random() < 0.5:
        return text
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", text)
        archive.writestr("archive/version", random.choice(("3\n", "-1", "x", "9" * 30)))
        archive.writestr("archive/data/0", bytes(16))
    return file.getvalue()


def changed_torch_file(data: bytes, random: Random) -> bytes:
    """One change in a file of ``torch.save``, of the zip layout or the older ones."""
    way = random.randrange(4)
    if way == 0:
        return code_carrying(random)
    if data[:2] != b"PK":
        return damaged(data, random)
    if way == 1:
        return changed_zip(data, random, lambda content: damaged(content, random))

    def shifted(content: bytes) -> bytes:
        """Numbers of a tensor's place, shape and stride; names of its type."""
        at = random.randrange(len(content)) if content else 0
        found = content.find(b"K", at)
        if found >= 0 and random.random() < 0.6:
            return content[: found + 1] + bytes([random.choice((0, 1, 127, 128, 255))]) + content[found + 2 :]
        names = (
            b"FloatStorage",
            b"LongStorage",
            b"HalfStorage",
            b"UntypedStorage",
            b"_rebuild_tensor_v2",
            b"OrderedDict",
            b"cpu",
            b"storage",
        )
        old, new = random.choice(names), random.choice(names)
        return content.replace(old, new, 1)

    return changed_zip(data, random, shifted)
