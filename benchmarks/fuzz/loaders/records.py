"""Configs, records of text, tokenised rows, journals."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ar_core.config import from_dict, load_yaml, to_dict
from ar_core.data import TextDataConfig
from ar_core.data.encode import record_text
from ar_core.data.packing import Row
from ar_core.data.records import FileRecords, held_out, open_records
from ar_core.data.rows import RowStore, stored_rows
from ar_core.evaluation.journal import Journal
from ar_core.registry import recipe, recipes
from ar_core.training import read_run_config

from ..loader import Loader

__all__ = ["LOADERS"]

RECORDS = (
    {"id": 1, "prompt": "How many?", "completion": "Three.", "text": "a"},
    {
        "id": "b",
        "text": "Größe \u2028 \U0001f600",
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
    },
    {"text": "c", "nested": {"list": [1, 2.5, None, True]}},
)
CONFIG = """# A run.
kind: text
path: records.jsonl
seq_len: 64
held_out: 0.1
fields: {text: text}
packing: whole
prepend_bos: null
streaming: false
"""


def _yaml() -> Iterator[Any]:
    yield lambda folder: (folder / "config.yaml").write_text(CONFIG)
    yield lambda folder: (folder / "config.yaml").write_text(
        "kind: prompt\npath: &p a.jsonl\nhub_name: *p\ncount: 10\n"
    )


def _read_yaml(folder: Path) -> None:
    to_dict(from_dict(TextDataConfig, load_yaml(folder / "config.yaml")))


def _run_config() -> Iterator[Any]:
    from ar_core.registry import configs

    for name in ("autoregressive", "fast_dllm_v2", "var"):
        if name in recipes():
            tiny = configs(recipe(name))
            source = tiny.get("tiny") or next(iter(tiny.values()))
            yield lambda folder, name=name, source=source: (folder / f"{name}.yaml").write_text(
                source.read_text(encoding="utf-8")
            )


def _read_run_config(folder: Path) -> None:
    for name in ("autoregressive", "fast_dllm_v2", "var"):
        if (folder / f"{name}.yaml").exists():
            to_dict(read_run_config(recipe(name), str(folder / f"{name}.yaml")))


def _jsonl(suffix: str) -> Any:
    text = "\n".join(json.dumps(record) for record in RECORDS) + "\n\n"

    def seeds() -> Iterator[Any]:
        data = gzip.compress(text.encode(), mtime=0) if suffix.endswith(".gz") else text.encode()
        yield lambda folder: (folder / f"records{suffix}").write_bytes(data)

    return seeds


def _read_jsonl(suffix: str) -> Any:
    def read(folder: Path) -> None:
        records = open_records(str(folder / f"records{suffix}"), None, "train")
        assert isinstance(records, FileRecords)
        for record in records:
            held_out(record.data, 0.5)
            record_text(record, "text")

    return read


def _rows() -> Iterator[Any]:
    def make(counts: dict[str, int]) -> Iterator[Row]:
        for number in range(3):
            ids = np.arange(8, dtype=np.int32) + number
            yield Row(ids, ids % 2 == 0, np.zeros(8, np.int32))
        counts["documents"] = 3

    def write(folder: Path) -> None:
        stored = folder / "rows"
        stored_rows(folder, "rows", 8, make)
        assert stored.is_dir()

    yield write


def _read_rows(folder: Path) -> None:
    store = RowStore(folder / "rows")
    for number in range(len(store)):
        store[number]


JOB = {"model": "m", "settings": {"a": 1}}


def _journal() -> Iterator[Any]:
    def write(folder: Path) -> None:
        with Journal(folder / "done.jsonl", JOB, ("task", "id")) as journal:
            journal.add({"task": "a", "id": 1, "answer": "x"})
            journal.add({"task": "a", "id": 2, "answer": "ü"})

    yield write


def _read_journal(folder: Path) -> None:
    with Journal(folder / "done.jsonl", JOB, ("task", "id")) as journal:
        len(journal)
        journal.add({"task": "b", "id": 1})


LOADERS = (
    Loader("ar_core/yaml", _yaml, _read_yaml),
    Loader("ar_core/run_config", _run_config, _read_run_config),
    Loader("ar_core/jsonl", _jsonl(".jsonl"), _read_jsonl(".jsonl")),
    Loader("ar_core/jsonl_gz", _jsonl(".jsonl.gz"), _read_jsonl(".jsonl.gz")),
    Loader("ar_core/token_rows", _rows, _read_rows),
    Loader("ar_core/journal", _journal, _read_journal),
)
