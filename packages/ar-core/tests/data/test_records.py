"""Reading records: files good and bad, hub data sets, tasks, the held-out hash."""

import gzip
import json
import sys
import types
from pathlib import Path

import pytest
from ar_core.data import TextDataConfig
from ar_core.data.records import FileRecords, HubRecords, TaskRecords, held_out, read_records
from ar_core.errors import ConfigError, DataError


class Doubling:
    name = "doubling"

    def problems(self, split, seed):
        number = seed * 1000 + (0 if split == "train" else 500)
        while True:
            yield f"{number}*2=", str(2 * number)
            number += 1

    def tokenizer(self):
        raise AssertionError("not needed")


def test_lines_and_places(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n\n  \n{"text": "two"}')
    records = list(FileRecords(path))
    assert [record.data for record in records] == [{"text": "one"}, {"text": "two"}]
    assert [record.place for record in records] == [f"{path}, line 1", f"{path}, line 4"]


def test_gzip_and_crlf(tmp_path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "\xc3\xa9"}\r\n{"text": "b"}\r\n'))
    assert [record.data["text"] for record in FileRecords(path)] == ["é", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "line 2: this is not valid JSON"),
        (b"hello", "line 2: this is not valid JSON"),
        (b'{"text": "\xff"}', "line 2: this is not valid JSON"),
        (b"[1, 2]", "line 2: this is a JSON list, not an object"),
        (b'"a"', "line 2: this is a JSON str, not an object"),
    ],
)
def test_malformed_line(tmp_path, line, message) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(DataError) as caught:
        list(FileRecords(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_truncated_gzip(tmp_path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress(b"".join(json.dumps({"text": str(n) * 50}).encode() + b"\n" for n in range(2000)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"the gzip stream is damaged after line \d+"):
        list(FileRecords(path))
    path.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match="damaged after line 0"):
        list(FileRecords(path))


def test_fingerprint_follows_the_content(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n')
    first = FileRecords(path).fingerprint
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n')
    assert FileRecords(tmp_path / "b.jsonl").fingerprint == first
    path.write_text('{"text": "two"}\n')
    assert FileRecords(path).fingerprint != first


@pytest.mark.parametrize("path", ["/nowhere/a.jsonl", "./a.jsonl", "a.jsonl.gz", "a.txt", "../a"])
def test_absent_local_path(path, tmp_path, monkeypatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    with pytest.raises(DataError, match=r"does not exist; give a JSON Lines file, .gz or not, or a hub id$"):
        read_records(TextDataConfig("text", path=path), "train")
    for absent, reason in ((path, "does not exist"), (tmp_path / "folder", "is a folder")):
        with pytest.raises(DataError, match=rf"{reason}; give a JSON Lines file, .gz or not$"):
            FileRecords(Path(absent))


def test_hub_id_goes_through_datasets(monkeypatch) -> None:
    calls = []

    def load_dataset(path, name, *, split, streaming):
        calls.append((path, name, split, streaming))
        if path == "org/absent":
            raise FileNotFoundError("no such data set\nmore lines")
        return [{"text": "a"}, {"text": "b"}]

    stub = types.SimpleNamespace(
        load_dataset=load_dataset, exceptions=types.SimpleNamespace(DatasetsError=RuntimeError)
    )
    monkeypatch.setitem(sys.modules, "datasets", stub)
    config = TextDataConfig("text", path="org/set", hub_name="en", hub_split="validation")
    records = read_records(config, "train")
    assert isinstance(records, HubRecords)
    assert [(record.place, record.data) for record in records] == [
        ("org/set, record 1", {"text": "a"}),
        ("org/set, record 2", {"text": "b"}),
    ]
    assert calls == [("org/set", "en", "validation", False)]
    assert records.total == 2
    with pytest.raises(DataError, match=r"'org/absent' is no file here.*\(no such data set\)"):
        read_records(TextDataConfig("text", path="org/absent"), "train")


def test_a_real_local_data_set_folder(tmp_path) -> None:
    pytest.importorskip("datasets", reason="the package datasets is not installed")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    config = TextDataConfig("text", path=str(folder), streaming=True)
    assert [record.data["text"] for record in read_records(config, "train")] == ["a", "b"]


def test_task_records() -> None:
    records = TaskRecords(Doubling(), "train", 1, 3)
    assert [record.data for record in records] == [
        {"prompt": f"{n}*2=", "completion": str(2 * n)} for n in (1000, 1001, 1002)
    ]
    assert next(iter(records)).place == "doubling, problem 1"
    others = [
        TaskRecords(Doubling(), "held_out", 1, 3),
        TaskRecords(Doubling(), "train", 2, 3),
        TaskRecords(Doubling(), "train", 1, 4),
        TaskRecords(Doubling(), "train", 1, None),
    ]
    assert len({records.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_a_changed_generator_changes_the_fingerprint(monkeypatch) -> None:
    before = TaskRecords(Doubling(), "train", 0, 3).fingerprint
    monkeypatch.setattr(Doubling, "problems", lambda self, split, seed: iter([("a", "b")] * 3))
    assert TaskRecords(Doubling(), "train", 0, 3).fingerprint != before


def test_unknown_task() -> None:
    with pytest.raises(ConfigError, match="no installed package has a task 'nothing_like_it'"):
        read_records(TextDataConfig("task", task="nothing_like_it", count=1), "train")


def test_held_out_share_and_copies() -> None:
    records = [{"text": f"story {n}"} for n in range(4000)]
    chosen = [held_out(record, 0.1) for record in records]
    # Four standard deviations of a binomial around 400.
    assert abs(sum(chosen) - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert chosen == [held_out(dict(record), 0.1) for record in records]
    assert not any(held_out(record, 0.0) for record in records)
    more = [held_out(record, 0.2) for record in records]
    assert all(b for a, b in zip(chosen, more) if a), "a larger share holds out all that a smaller one did"
    for n in range(20):
        assert held_out({"a": n, "b": 2}, 0.5) == held_out({"b": 2, "a": n}, 0.5), "the order of fields does not matter"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "text"}, "path is None and must be a file or a hub id"),
        ({"kind": "task", "count": 3}, "task is None and must be the name of a task"),
        ({"kind": "task", "task": "t"}, "give count, the number of problems, or streaming"),
        ({"kind": "task", "task": "t", "count": 3, "path": "a"}, "path is 'a', which is never used for kind task"),
        ({"kind": "text", "path": "a", "task": "t"}, "task is 't', which is never used for kind text"),
        ({"kind": "text", "path": "a", "chat_template": True}, "chat_template is True"),
        ({"kind": "chat", "path": "a", "append_eos": False}, "append_eos is False, which is never used for kind chat"),
        (
            {"kind": "prompt", "path": "a", "chat_template": True, "prepend_bos": True},
            "prepend_bos is True, which is never used with a chat template",
        ),
        ({"kind": "text", "path": "a", "shuffle_buffer": 3}, "never used with streaming: false"),
        ({"kind": "text", "path": "a", "streaming": True, "cache_dir": "c"}, "never used with streaming: true"),
        ({"kind": "text", "path": "a", "fields": {"txt": "t"}}, "renames 'txt'"),
        ({"kind": "text", "path": "a", "held_out": 1.0}, "held_out is 1.0 and must be in [0, 1)"),
        ({"kind": "text", "path": "a", "count": 0}, "count is 0"),
        ({"kind": "text", "path": "a", "seq_len": 1}, "seq_len is 1"),
    ],
)
def test_contradictions(settings, message) -> None:
    with pytest.raises(ConfigError) as caught:
        TextDataConfig(**settings)
    assert message in str(caught.value)
