"""Folders of runs and stages whose records were written by someone else."""

import json
from types import SimpleNamespace

import pytest
import torch
from ar_core.errors import DataError, ResumeError
from ar_core.training import Column, checkpoint, finished_chunks, read_chunks
from ar_core.training.best import Best
from ar_core.training.chunks import close_chunks, open_chunks, write_chunk
from ar_core.training.metrics import MetricsFile
from ar_core.training.stage import Chunk
from ar_core.training.state import RunState


@pytest.fixture
def folder(tmp_path):
    tensors = {"weights": {"m.w": torch.zeros(2)}, "optimizer": {"m.w/exp_avg": torch.zeros(2)}}
    return checkpoint.save(tmp_path, checkpoint.Snapshot(1, tensors, {"train": {}}), keep=1)


@pytest.mark.parametrize(
    "change",
    [
        {"groups": ["weights", "optimizer", "../../outside"]},
        {"groups": ["weights"]},
        {"groups": "weights"},
        {"groups": [["weights"]]},
        {"step": "1"},
        {"step": True},
        {"run": []},
        {"run": {"train": 3}},
    ],
)
def test_the_record_of_a_checkpoint_is_not_believed(folder, change):
    record = json.loads((folder / "run.json").read_text())
    assert checkpoint.load(folder).step == 1
    (folder / "run.json").write_text(json.dumps(record | change))
    with pytest.raises(ResumeError, match="cannot be read"):
        checkpoint.load(folder)


@pytest.mark.parametrize("marker", ["[" * 9999, "[1]", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")])
def test_a_marker_that_is_none_makes_a_checkpoint_broken(folder, marker):
    (folder / "complete.json").write_text(marker)
    with pytest.raises(ResumeError, match="is broken"):
        checkpoint.latest(folder.parent)


def live():
    parameter = torch.nn.Parameter(torch.zeros(2))
    turn = SimpleNamespace(
        player=SimpleNamespace(models=()), names=["m.w"], parameters=[parameter], optimizer=SimpleNamespace(state={})
    )
    return RunState({}, [turn], None)


@pytest.mark.parametrize(
    ("moments", "reason"),
    [
        ({}, "has no moments of m.w"),
        ({"m.w/exp_avg": torch.zeros(3)}, r"exp_avg of m.w is \[3\]"),
        ({"m.w/exp_avg": torch.zeros(2, dtype=torch.int64)}, "torch.int64"),
    ],
)
def test_moments_fit_their_parameters(moments, reason):
    live().restore(
        {"weights": {"m.w": torch.ones(2)}, "optimizer": {"m.w/step": torch.tensor(1.0), "m.w/exp_avg": torch.ones(2)}},
        "x",
    )
    with pytest.raises(ResumeError, match=reason):
        live().restore({"weights": {"m.w": torch.ones(2)}, "optimizer": moments}, "x")


@pytest.mark.parametrize(
    "record",
    ["[]", "{}", '{"evaluation": []}', '{"evaluation": {"loss": "low"}}', "[" * 9999, '{"evaluation": {"loss": null}}'],
)
def test_the_record_of_the_best_model(tmp_path, record):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best.json").write_text(record)
    with pytest.raises(ResumeError, match="is no record of an evaluation"):
        Best(SimpleNamespace(), "loss", tmp_path, resumed=True)


def test_metrics_end_at_a_line_that_is_none(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + b"[" * 99_999 + b'\n{"step": 2}\n')
    MetricsFile(tmp_path, 9).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 1}\n'


def stage(directory, *chunks):
    open_chunks(directory, {"a": 1}, "auto")
    for number, tensors in enumerate(chunks):
        write_chunk(directory, number, Chunk(tensors))
    close_chunks(directory, len(chunks))


def test_a_stage_of_countless_chunks_lacks_them_at_once(tmp_path):
    stage(tmp_path, {"a": torch.zeros(1)})
    for count, reason in (
        (2**62, r"lacks 4611686018427387903 of .*chunk-000001"),
        (-1, "no record"),
        ("1", "no record"),
        (True, "no record"),
    ):
        (tmp_path / "stage.json").write_text(json.dumps({"identity": {"a": 1}, "chunks": count}))
        with pytest.raises(DataError, match=reason):
            finished_chunks(tmp_path)
    (tmp_path / "stage.json").write_text(json.dumps({"identity": 3, "chunks": 1}))
    with pytest.raises(DataError, match="no record"):
        finished_chunks(tmp_path)


def test_chunks_are_what_their_reader_takes_them_for(tmp_path):
    columns = {
        "key": Column(("rows",)),
        "codes": Column(("rows", "length", "*")),
        "note": Column((2,), "fractions", optional=True),
    }
    good = {"key": torch.arange(3), "codes": torch.zeros(3, 4, 2, dtype=torch.int16)}
    stage(tmp_path / "good", good, {"key": torch.arange(1), "codes": torch.zeros(1, 4, 9, dtype=torch.int16)})
    assert [len(one["key"]) for one in read_chunks(finished_chunks(tmp_path / "good")[1], columns)] == [3, 1]
    for number, other in enumerate(
        (
            {"key": torch.arange(3)},
            {**good, "key": torch.arange(2)},
            {**good, "key": torch.zeros(3)},
            {**good, "codes": torch.zeros(3, 5, 2, dtype=torch.int16)},
            {**good, "codes": torch.zeros(3, 4, 2, dtype=torch.int32)},
            {**good, "codes": torch.zeros(3, 4, dtype=torch.int16)},
            {**good, "note": torch.zeros(2)},
        )
    ):
        stage(tmp_path / str(number), good, other)
        with pytest.raises(DataError, match=r"chunk-000001"):
            read_chunks(finished_chunks(tmp_path / str(number))[1], columns)
    with pytest.raises(DataError, match="not a single chunk"):
        read_chunks([], columns)
