"""Records from files of conversations, and mixes of them."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path, load_yaml
from ar_core.corruption import SampleRng
from ar_core.data import Record
from ar_core.data.records import FileRecords
from ar_core.errors import ConfigError, DataError
from ar_core.json_text import parse_json

__all__ = ["FOLDER", "picture_root", "read_conversations"]

ENTRY = ("json_path", "sampling_strategy", "image_root")
FOLDER = "image_root"
"""Field of every record that is read: the folder of its pictures."""


def read_conversations(
    path: Path, *, image_root: Path | None = None, seed: int = 0, within: tuple[Path, ...] = ()
) -> tuple[list[Record], str]:
    """Read the records of a file, each with the folder of its pictures, and what identifies them.

    - JSON Lines, gzip or not: an object a line.
    - ``.json``: one list of objects.
    - ``.yaml``: a mix, `datasets: [{json_path, sampling_strategy, image_root}, ...]`; the strategy is ``all`` (if absent), or
      ``first:``, ``end:`` or ``random:`` with a number of records or a share such as ``10%``, rounded up. Random ones are drawn from
      the seed; paths are relative to the mix, and a file may be a mix itself.

    The folder of a record's pictures is the `image_root` of the innermost mix that gives one, else ``image_root``, else the folder of
    the file that the record stands in. An `image_root` of the record itself is relative to that. Nulls are absent.

    Args:
        path: the file.
        image_root: of records for which no mix gives one.
        seed: of random records.
        within: mixes that it is read for.

    Raises:
        DataError: a file is missing or holds something else, or the `image_root` of a record is no text.
        ConfigError: a mix has other keys or strategies, or keys of other types.
    """
    if path.suffix in (".yaml", ".yml"):
        return _mix(path, image_root, seed, within)
    records, fingerprint = _plain(path)
    root = path.parent if image_root is None else image_root
    for record in records:
        record.data[FOLDER] = str(root / _folder(record))
    return records, fingerprint


def picture_root(record: Record) -> Path:
    """What the image paths of a record of :func:`read_conversations` are relative to."""
    return Path(record.data[FOLDER])


def _folder(record: Record) -> str:
    own = record.data.get(FOLDER)
    if own is not None and not isinstance(own, str):
        raise DataError(f"{record.place}: {FOLDER} is {own!r:.60}; give the path of a folder, or leave it out")
    return own or ""


def _plain(path: Path) -> tuple[list[Record], str]:
    """Records of a file that is no mix."""
    if path.suffix != ".json":
        records = FileRecords(path)
        return list(records), records.fingerprint
    try:
        data = path.read_bytes()
        found = parse_json(data)
    except OSError as error:
        raise DataError(f"the data file {str(path)!r} cannot be read ({error.strerror}): correct the path") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); give a list of objects, or JSON Lines") from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{path} holds no list of objects; give one, or JSON Lines")
    places = [Record(f"{path}, entry {number}", entry) for number, entry in enumerate(found, start=1)]
    return places, hashlib.sha256(data).hexdigest()


def _mix(path: Path, image_root: Path | None, seed: int, within: tuple[Path, ...]) -> tuple[list[Record], str]:
    if path.resolve() in within:
        raise ConfigError(f"{path} is a mix that holds itself: take it out")
    entries = load_yaml(path).get("datasets")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and entry.get("json_path") is not None for entry in entries
    ):
        raise ConfigError(f"{path} has no list 'datasets' of mappings with json_path: give one")
    records: list[Record] = []
    prints = []
    for number, entry in enumerate(entries):
        if unknown := sorted(entry.keys() - set(ENTRY)):
            raise ConfigError(
                f"{path}: the data set {number + 1} has {unknown[0]!r}, but takes {', '.join(ENTRY)}: drop it"
            )
        given = {key: value for key, value in entry.items() if value is not None}
        if wrong := [key for key in ("json_path", FOLDER) if not isinstance(given.get(key, ""), str)]:
            raise ConfigError(
                f"{path}: {wrong[0]} of the data set {number + 1} is {given[wrong[0]]!r:.60}; give a path"
            )
        file = path.parent / expand_path(given["json_path"])
        root = path.parent / expand_path(given[FOLDER]) if FOLDER in given else image_root
        found, fingerprint = read_conversations(file, image_root=root, seed=seed, within=(*within, path.resolve()))
        strategy = str(given.get("sampling_strategy", "all"))
        records += [found[place] for place in _chosen(strategy, len(found), seed, number, path)]
        prints.append([fingerprint, strategy])
    return records, hashlib.sha256(json.dumps([prints, seed]).encode()).hexdigest()


def _chosen(strategy: str, count: int, seed: int, number: int, path: Path) -> list[int]:
    """Which records of a data set a strategy takes."""
    kind, _, amount = strategy.partition(":")
    if strategy == "all":
        return list(range(count))
    try:
        wanted = math.ceil(count * float(amount[:-1]) / 100) if amount.endswith("%") else int(amount)
    except (ValueError, OverflowError):
        wanted = -1
    if kind not in ("first", "end", "random") or not wanted >= 0:
        raise ConfigError(
            f"{path}: the sampling_strategy is {strategy!r}, but must be all, or first:, end: or random: with a number or a share such "
            "as 10%"
        )
    wanted = min(wanted, count)
    if kind == "first":
        return list(range(wanted))
    if kind == "end":
        return list(range(count - wanted, count))
    order: Any = torch.randperm(count, generator=SampleRng(seed).row(number, "mix"))
    return sorted(order[:wanted].tolist())
