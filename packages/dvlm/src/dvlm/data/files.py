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
"""Field that a record of a mix gets for the folder of its pictures."""


def read_conversations(path: Path, *, seed: int = 0, within: tuple[Path, ...] = ()) -> tuple[list[Record], str]:
    """Read the records of a file, and what identifies them.

    - JSON Lines, gzip or not: an object a line.
    - ``.json``: one list of objects.
    - ``.yaml``: a mix, `datasets: [{json_path, sampling_strategy, image_root}, ...]`; the strategy is ``all`` (if absent), or
      ``first:``, ``end:`` or ``random:`` with a number of records or a share such as ``10%``, rounded up. Random ones are drawn from
      the seed; paths are relative to the mix.

    Args:
        path: the file.
        seed: of random records.
        within: mixes that it is read for.

    Raises:
        DataError: a file is missing or holds something else.
        ConfigError: a mix has other keys or strategies.
    """
    if path.suffix in (".yaml", ".yml"):
        return _mix(path, seed, within)
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


def picture_root(record: Record, root: Path) -> Path:
    """What image paths of a record are relative to: the folder that its mix names, or ``root``.

    Raises:
        DataError: the record has an entry of that name that is no text.
    """
    folder = record.data.get(FOLDER, root)
    if not isinstance(folder, (str, Path)):
        raise DataError(f"{record.place}: {FOLDER} is {folder!r:.60}; give the path of a folder, or leave it out")
    return Path(folder)


def _mix(path: Path, seed: int, within: tuple[Path, ...]) -> tuple[list[Record], str]:
    if path.resolve() in within:
        raise ConfigError(f"{path} is a mix that holds itself: take it out")
    entries = load_yaml(path).get("datasets")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "json_path" in entry for entry in entries):
        raise ConfigError(f"{path} has no list 'datasets' of mappings with json_path: give one")
    records: list[Record] = []
    prints = []
    for number, entry in enumerate(entries):
        if unknown := sorted(entry.keys() - set(ENTRY)):
            raise ConfigError(
                f"{path}: the data set {number + 1} has {unknown[0]!r}, but takes {', '.join(ENTRY)}: drop it"
            )
        file = path.parent / expand_path(str(entry["json_path"]))
        found, fingerprint = read_conversations(file, seed=seed, within=(*within, path.resolve()))
        strategy = str(entry.get("sampling_strategy", "all"))
        root = path.parent / expand_path(str(entry[FOLDER])) if FOLDER in entry else file.parent
        chosen = [found[place] for place in _chosen(strategy, len(found), seed, number, path)]
        records += [Record(record.place, {**record.data, FOLDER: str(root)}) for record in chosen]
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
