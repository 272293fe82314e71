"""Chunks made by number, in whatever order the numbers come."""

import pytest
import torch
from ar_core.errors import CheckpointError, ClusterError, ResumeError
from ar_core.training import Chunk, StageConfig, StageJob, finished_chunks, run_stage
from ar_core.training.chunk_worker import ChunkWorker, survey_chunks

ITEMS = 11


class Stream:
    """Items that can be read from the start again, and have no length."""

    def __iter__(self):
        return iter(range(ITEMS))


def build(**identity) -> StageJob:
    def make(first: int, numbers: list[int]) -> Chunk:
        assert numbers[0] == first
        return Chunk({"numbers": torch.tensor(numbers)}, {"items": len(numbers)})

    return StageJob(Stream(), make, identity={"kind": "toy", **identity})


def config(directory, **options) -> StageConfig:
    return StageConfig(directory=str(directory), **{"chunk_size": 2, **options})


def files(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_in_any_order_the_files_are_those_of_a_run(tmp_path) -> None:
    run_stage(build(), config(tmp_path / "whole"))
    assert survey_chunks(build, config(tmp_path / "made"), "auto") == (0, [0, 1, 2, 3, 4, 5])
    workers = [ChunkWorker(build, config(tmp_path / "made")) for _ in range(2)]
    counted = [workers[number % 2](number) for number in (3, 0, 1, 5, 2, 4)]
    assert [one["items"] for one in counted] == [2, 2, 2, 1, 2, 2]
    assert files(tmp_path / "made") == files(tmp_path / "whole")
    assert len(finished_chunks(tmp_path / "made")[1]) == 6


def test_a_chunk_that_is_there_is_counted_and_left_as_it_is(tmp_path) -> None:
    survey_chunks(build, config(tmp_path), "auto")
    worker = ChunkWorker(build, config(tmp_path))
    worker(5)
    path = tmp_path / "chunk-000005.safetensors"
    before = path.stat().st_mtime_ns
    assert ChunkWorker(build, config(tmp_path))(5) == {"items": 1}
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is truncated"):
        worker(5)


def test_a_shard_is_surveyed(tmp_path) -> None:
    run_stage(build(), config(tmp_path, shard="1/3"))
    assert survey_chunks(build, config(tmp_path, shard="1/3"), "must") == (2, [])
    assert survey_chunks(build, config(tmp_path, shard="2/2"), "auto") == (1, [1, 5])
    assert survey_chunks(build, config(tmp_path), "auto") == (2, [1, 2, 4, 5])


def test_data_that_end_early_on_a_machine_are_refused(tmp_path) -> None:
    survey_chunks(build, config(tmp_path), "auto")
    with pytest.raises(ClusterError, match="the data end before chunk 6 on the machine"):
        ChunkWorker(build, config(tmp_path))(6)


def test_another_folder_stage_or_policy_is_refused(tmp_path) -> None:
    with pytest.raises(ClusterError, match="is another folder on the machine"):
        ChunkWorker(build, config(tmp_path / "elsewhere"))
    survey_chunks(build, config(tmp_path), "auto")
    with pytest.raises(ResumeError, match=r"kind was toy in .* and is other now"):
        ChunkWorker(lambda: build(kind="other"), config(tmp_path))
    ChunkWorker(build, config(tmp_path))(0)
    with pytest.raises(ResumeError, match="holds chunks and resume is 'never'"):
        survey_chunks(build, config(tmp_path), "never")
