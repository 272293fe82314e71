"""Stages that make data: shards, kills, resumption, and what is refused."""

import os
import signal

import pytest
import torch
from ar_core.errors import ConfigError, DataError, ResumeError
from ar_core.registry import Recipe
from ar_core.training import Chunk, StageConfig, StageJob, finished_chunks, run_stage
from ar_core.training.recipe import run_recipe

ITEMS = 23


def job(items: int = ITEMS, seen: list[int] | None = None, **identity) -> StageJob:
    def make(first: int, numbers: list[int]) -> Chunk:
        if seen is not None:
            seen.append(first)
        assert numbers[0] == first
        generator = torch.Generator().manual_seed(first)
        values = torch.randint(100, (len(numbers),), generator=generator)
        return Chunk({"numbers": torch.tensor(numbers), "values": values}, {"items": len(numbers)})

    return StageJob(range(items), make, total=items, identity={"kind": "toy", **identity})


def config(directory, shard: str = "1/1", **options) -> StageConfig:
    return StageConfig(directory=str(directory), shard=shard, **{"chunk_size": 4, **options})


def run(directory) -> None:
    run_stage(job(), config(directory))


def files(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if not path.name.startswith(".tmp-")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("whole")
    result = run_stage(job(), config(directory))
    assert (result.made, result.present, result.counts) == (6, 0, {"items": ITEMS})
    return files(directory)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_are_disjoint_and_make_the_same_files_in_any_order(whole, tmp_path, order) -> None:
    seen: list[list[int]] = []
    for shard in order:
        seen.append([])
        run_stage(job(seen=seen[-1]), config(tmp_path, f"{shard}/3"))
        if shard != order[-1]:
            with pytest.raises(DataError, match="lacks"):
                finished_chunks(tmp_path)
    assert sorted(first for one in seen for first in one) == list(range(0, ITEMS, 4))
    assert files(tmp_path) == whole
    _, paths = finished_chunks(tmp_path)
    assert [path.name for path in paths] == sorted(whole)[:6]


def test_shards_of_separate_folders_are_copied_together(whole, tmp_path) -> None:
    for shard in (1, 2):
        run_stage(job(), config(tmp_path / str(shard), f"{shard}/2"))
    for path in (tmp_path / "2").iterdir():
        path.rename(tmp_path / "1" / path.name)
    assert files(tmp_path / "1") == whole
    finished_chunks(tmp_path / "1")


def test_processes_of_torchrun_divide_a_shard(whole, tmp_path, monkeypatch) -> None:
    seen: list[list[int]] = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        for shard in ("2/2", "1/2"):
            seen.append([])
            run_stage(job(seen=seen[-1]), config(tmp_path, shard))
    assert files(tmp_path) == whole
    assert [len(one) for one in seen] == [1, 2, 1, 2]


def test_a_run_continues_with_another_number_of_shards(whole, tmp_path) -> None:
    run_stage(job(), config(tmp_path, "2/3"))
    result = run_stage(job(), config(tmp_path))
    assert (result.made, result.present) == (4, 2)
    assert files(tmp_path) == whole


def test_killed_at_every_write_boundary_and_continued(kills, whole, tmp_path) -> None:
    boundary = 0
    with kills.Runs(__file__, "run") as runs:
        while runs.killed_at(tmp_path / str(boundary), boundary):
            runs.killed_at(tmp_path / str(boundary), boundary // 2)
            runs.uninterrupted(tmp_path / str(boundary))
            assert files(tmp_path / str(boundary)) == whole, f"boundary {boundary}"
            boundary += 5
    assert boundary > 40


def test_a_termination_request_ends_behind_the_chunk_at_work(whole, tmp_path) -> None:
    stage = job()

    def make(first: int, numbers):
        if first == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return stage.make(first, numbers)

    result = run_stage(StageJob(stage.items, make, identity=stage.identity), config(tmp_path))
    assert result.interrupted
    assert result.made == 3
    with pytest.raises(DataError, match="not finished"):
        finished_chunks(tmp_path)
    assert not run_stage(job(), config(tmp_path)).interrupted
    assert files(tmp_path) == whole


def test_another_stage_is_not_continued(tmp_path) -> None:
    run_stage(job(), config(tmp_path, "1/2"))
    with pytest.raises(ResumeError, match=r"kind was toy in .* and is other now"):
        run_stage(StageJob(range(3), job().make, identity={"kind": "other"}), config(tmp_path))
    with pytest.raises(ResumeError, match=r"chunk_size was 4 .* and is 8 now"):
        run_stage(job(), config(tmp_path, chunk_size=8))
    with pytest.raises(ResumeError, match="holds chunks and resume is 'never'"):
        run_stage(job(), config(tmp_path), resume="never")
    with pytest.raises(ResumeError, match="holds no chunks and resume is 'must'"):
        run_stage(job(), config(tmp_path / "empty"), resume="must")


def test_a_missing_file_is_named(tmp_path) -> None:
    run_stage(job(), config(tmp_path))
    (tmp_path / "chunk-000003.safetensors").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 6 chunks, the first being chunk-000003"):
        finished_chunks(tmp_path)
    with pytest.raises(DataError, match="no folder that a data-making recipe wrote"):
        finished_chunks(tmp_path / "elsewhere")


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_do_not_exist_are_refused(tmp_path, shard) -> None:
    with pytest.raises(ConfigError, match="must be i/n"):
        config(tmp_path, shard)


def test_only_the_own_driver_runs_a_stage() -> None:
    recipe = Recipe("toy", "A toy.", "toy.recipes", "toy:Run", "toy:build", makes="data")
    with pytest.raises(ConfigError, match="'toy' makes data and trains nothing"):
        run_recipe(recipe, None, driver=lambda *a, **k: None)
