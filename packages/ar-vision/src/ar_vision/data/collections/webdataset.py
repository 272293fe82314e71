"""Pictures in tar shards, as the webdataset library lays them out."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ar_core.errors import DataError
from ar_core.json_text import parse_json

from .fingerprint import files_fingerprint
from .pictures import Picture, captions_of, number_labels

__all__ = ["WebdatasetPictures"]

IMAGES = ("jpg", "jpeg", "png", "webp")
KEPT_OPEN = 64
BLOCK = 512
LONGEST_NUMBER = 100


@dataclass
class _Group:
    """Members of one sample: where each lies, by extension."""

    shard: int
    key: str
    members: dict[str, tuple[int, int]] = field(default_factory=dict)


class WebdatasetPictures:
    """Members of a shard whose names are equal up to the first dot are one sample: ``jpg`` (or png, webp), ``cls``, ``txt``, ``json``.

    Shards are uncompressed, so that any sample is read without those before it: opening notes where the members lie, and reads
    labels and captions.

    Args:
        paths: the shards, in order.
        image: extension of the pictures; None takes the usual ones.
        label: ``cls``, or an entry of the ``json`` member; None takes ``cls``, or the entry ``label``, where the first sample has it.
        captions: entries of the ``json`` member (or ``txt``) with captions; empty takes ``txt``, or the usual entries.

    Raises:
        DataError: a shard is no plain tar file or is truncated; a sample has no picture, two, or lacks what others have.
    """

    def __init__(self, paths: Sequence[Path], image: str | None, label: str | None, captions: Sequence[str]) -> None:
        self.paths = list(paths)
        self._files: dict[int, int] = {}
        groups = [group for shard in range(len(self.paths)) for group in self._groups(shard)]
        if not groups:
            raise DataError(f"{self.paths[0]} holds not a single file: give shards with pictures")
        extensions = (image,) if image else IMAGES
        self._members: list[tuple[int, int, int]] = []
        self._keys: list[str] = []
        self._captions: list[tuple[str, ...]] = []
        labels: list[Any] = []
        for group in groups:
            place = self._place(group)
            found = [name for name in extensions if name in group.members]
            if len(found) != 1:
                raise DataError(
                    f"{place}: there are {len(found)} pictures ({', '.join(sorted(group.members))}) and must be one of "
                    f"{', '.join(extensions)}: correct the shard, or set data.image_field"
                )
            record = self._json(group, place)
            label = label or (
                None if self._keys else _first(("cls" in group.members, "cls"), ("label" in record, "label"))
            )
            if label is not None:
                labels.append(self._label(group, record, label, place))
            if "txt" in group.members:
                record["txt"] = self._text(group, "txt", place)
            texts = captions or (("txt",) if "txt" in record else ())
            self._captions.append(captions_of(record, texts, place))
            self._members.append((group.shard, *group.members[found[0]]))
            self._keys.append(group.key)
        self.captioned = any(self._captions)
        self.labels, self.classes = number_labels(labels, str(self.paths[0]))

    def _groups(self, shard: int) -> Iterator[_Group]:
        found: dict[str, _Group] = {}
        path = self.paths[shard]
        try:
            length = path.stat().st_size
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    folder, _, name = member.name.rpartition("/")
                    stem, dot, extension = name.partition(".")
                    # A sparse member's numbers lie elsewhere than its size says.
                    if not member.isfile() or member.issparse() or not stem or not dot:
                        continue
                    group = found.setdefault(f"{folder}/{stem}", _Group(shard, f"{folder}/{stem}".lstrip("/")))
                    if extension.lower() in group.members:
                        raise DataError(f"{path}: the member {member.name!r} is there twice: remove one")
                    group.members[extension.lower()] = (member.offset_data, member.size)
                    if not 0 <= member.size <= length - member.offset_data:
                        raise DataError(f"{path} is truncated within {member.name!r}: fetch it again")
                last = archive.getmembers()[-1:]
            # The tarfile module takes a damaged header for the end, which is an empty block behind the last member.
            end = last[0].offset_data + -(-last[0].size // BLOCK) * BLOCK if last else 0
            with path.open("rb") as file:
                file.seek(end)
                ended = file.read(BLOCK) == bytes(BLOCK)
        except DataError:
            raise
        except Exception as error:
            # Damaged headers raise errors of any kind.
            raise DataError(
                f"{path} is no uncompressed tar file, or is damaged ({error}): unpack .tar.gz shards, fetch damaged ones again"
            ) from error
        if not ended:
            raise DataError(f"{path} is truncated or damaged {end} bytes from its start: fetch it again")
        return iter(found.values())

    def _place(self, group: _Group) -> str:
        return f"{self.paths[group.shard]}, {group.key}"

    def _json(self, group: _Group, place: str) -> dict[str, Any]:
        if "json" not in group.members:
            return {}
        try:
            record = parse_json(self._bytes(group.shard, *group.members["json"]))
        except ValueError as error:
            raise DataError(f"{place}.json is no valid JSON ({error}): correct it") from error
        if not isinstance(record, dict):
            raise DataError(f"{place}.json is a JSON {type(record).__name__} and must be an object: correct it")
        return record

    def _text(self, group: _Group, extension: str, place: str) -> str:
        try:
            return self._bytes(group.shard, *group.members[extension]).decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{place}.{extension} is no UTF-8 text: convert it") from error

    def _label(self, group: _Group, record: dict[str, Any], label: str, place: str) -> Any:
        if label == "cls" and "cls" in group.members:
            text = self._text(group, "cls", place)
            return int(text) if len(text) < LONGEST_NUMBER and text.removeprefix("-").isdecimal() else text
        if label not in record:
            raise DataError(
                f"{place}: there is no {label!r}, which other samples have: add it, or set data.label_field"
            )
        return record[label]

    def _bytes(self, shard: int, offset: int, size: int) -> bytes:
        if shard not in self._files:
            if len(self._files) == KEPT_OPEN:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[shard] = os.open(self.paths[shard], os.O_RDONLY)
        return os.pread(self._files[shard], size, offset)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Picture:
        """The picture's bytes and captions."""
        shard, offset, size = self._members[number]
        place = f"{self.paths[shard]}, {self._keys[number]}"
        return Picture(place, self._bytes(shard, offset, size), self._captions[number])

    @cached_property
    def fingerprint(self) -> str:
        """Of the shards."""
        return files_fingerprint((path.name, path) for path in self.paths)

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in their process: workers open their own.
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        for descriptor in self.__dict__.get("_files", {}).values():
            os.close(descriptor)


def _first(*choices: tuple[bool, str]) -> str | None:
    return next((name for there, name in choices if there), None)
