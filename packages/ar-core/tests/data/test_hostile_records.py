"""Records, rows and journals that are damaged or malicious."""

import gzip
import json

import numpy as np
import pytest
from ar_core.data import records
from ar_core.data.packing import Row
from ar_core.data.records import FileRecords, open_records
from ar_core.data.rows import RowStore, stored_rows
from ar_core.errors import DataError, ResumeError
from ar_core.evaluation.journal import Journal


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": "\\ud800"}', "half a character"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
    ],
)
def test_lines_that_are_refused(tmp_path, line, reason):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DataError, match=rf"a\.jsonl, line 2: .*{reason}"):
        list(FileRecords(tmp_path / "a.jsonl"))


def test_compressed_files_do_not_expand_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LONGEST", 1000)
    monkeypatch.setattr(records, "FREELY", 2000)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"x" * 5000))
    with pytest.raises(DataError, match="line 1: this line has more than 1000 bytes"):
        list(FileRecords(path))
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 100_000))
    with pytest.raises(DataError, match="expands to more than 100 times its size"):
        list(FileRecords(path))
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 200))
    assert len(list(FileRecords(path))) == 200


@pytest.mark.parametrize(
    "meta",
    [
        "[]",
        "{}",
        '{"rows": -1, "seq_len": -2}',
        '{"rows": 2.0, "seq_len": 2}',
        '{"rows": "2", "seq_len": 2}',
        "[" * 9999,
    ],
)
def test_token_rows_with_another_record(tmp_path, meta):
    rows = [Row(np.arange(2, dtype=np.int32), np.ones(2, bool), np.zeros(2, np.int32))] * 2
    stored_rows(tmp_path, "rows", 2, lambda counts: iter(rows))
    (tmp_path / "rows" / "meta.json").write_text(meta)
    with pytest.raises(DataError, match="token rows"):
        RowStore(tmp_path / "rows")


def test_token_rows_without_a_file(tmp_path):
    (tmp_path / "meta.json").write_text('{"rows": 2, "seq_len": 2}')
    with pytest.raises(DataError, match=r"cannot be read .*ids\.bin"):
        RowStore(tmp_path)


@pytest.mark.parametrize("line", [b"[" * 9999, b'{"id": []}', b'{"id": {"a": 1}}', b"3", b'{"x": 1}'])
def test_journals_with_lines_of_others(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps({"job": {"a": 1}}).encode() + b"\n" + line + b"\n")
    with pytest.raises(ResumeError, match="line 2 of"):
        Journal(path, {"a": 1}, ("id",))


def test_a_name_longer_than_any_file_has():
    """`Path.is_file` raises for those, where it says no of others."""
    for name in ("x" * 300 + ".jsonl", "./" + "x" * 5000):
        with pytest.raises(DataError, match="does not exist"):
            open_records(name, None, "train")
