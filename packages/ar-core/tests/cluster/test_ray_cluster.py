"""A cluster of two workers on this machine: the same files as without it, workers that are killed, and what is refused."""

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from ar_core.cluster import RayCluster
from ar_core.cluster.ray_cluster import _answered, _place
from ar_core.errors import ClusterError, ConfigError, DataError, MissingPackageError, ResumeError
from ar_core.training import Chunk, StageConfig, StageJob, run_stage, run_stage_on_ray

ITEMS = 23


def job(marks: str | None = None, **identity) -> StageJob:
    """Numbers with noise; with ``marks``, a folder, the worker of chunk 2 is killed before its file is there, and that of chunk 4 after."""

    def make(first: int, numbers: list[int]) -> Chunk:
        assert numbers[0] == first
        if marks is not None and first == 8 and fresh(marks, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        if marks is not None and first == 16 and fresh(marks, "after"):
            threading.Thread(target=die_behind, args=(Path(marks, "stage", "chunk-000004.safetensors"),)).start()
        generator = torch.Generator().manual_seed(first)
        values = torch.randint(100, (len(numbers),), generator=generator)
        return Chunk({"numbers": torch.tensor(numbers), "values": values}, {"items": len(numbers)})

    return StageJob(range(ITEMS), make, total=ITEMS, identity={"kind": "toy", **identity})


def fresh(folder: str, name: str) -> bool:
    """Whether this is the first time."""
    mark = Path(folder, name)
    there = mark.exists()
    mark.touch()
    return not there


def die_behind(path: Path) -> None:
    while not path.is_file():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def config(directory: Path, shard: str = "1/1", **options) -> StageConfig:
    return StageConfig(directory=str(directory), shard=shard, **{"chunk_size": 4, "device": "cpu", **options})


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if not path.name.startswith(".tmp-")}


def killed_workers_lose_and_duplicate_nothing(tmp_path: Path) -> None:
    """Nor does what a run without Ray left before; and a run without Ray finds it all done."""
    run_stage(job(), config(tmp_path / "whole"))
    run_stage(job(), config(tmp_path / "stage", "1/6"))
    result = run_stage_on_ray(partial(job, str(tmp_path)), config(tmp_path / "stage"), address="auto", workers=2)
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()
    assert (result.made, result.present, result.counts, result.interrupted) == (5, 1, {"items": ITEMS - 4}, False)
    assert files(tmp_path / "stage") == files(tmp_path / "whole")
    assert run_stage(job(), config(tmp_path / "stage"), resume="must").present == 6
    result = run_stage_on_ray(job, config(tmp_path / "stage"), address="auto", workers=2, resume="must")
    assert (result.made, result.present) == (0, 6)
    with pytest.raises(ResumeError, match=r"kind was toy in .* and is other now"):
        run_stage_on_ray(partial(job, kind="other"), config(tmp_path / "stage"), address="auto", workers=2)


def squares(refused: int):
    """A worker that takes longest over the first item, and refuses one."""

    def square(item: int) -> int:
        if item == refused:
            raise DataError(f"{item} is refused: give another")
        time.sleep(0 if item else 1.0)
        return item * item

    return square


def results_come_in_the_order_of_the_items_up_to_the_error_of_a_worker(cluster: RayCluster) -> None:
    results = cluster.map(squares, [5], list(range(8)))
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(DataError, match=r"^5 is refused: give another$"):
        next(results)


def deadly(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def what_kills_each_of_its_workers_ends_the_run(cluster: RayCluster) -> None:
    with pytest.raises(ClusterError, match="3 workers of the Ray cluster died over the same piece of work"):
        list(cluster.map(lambda: deadly, [], [0]))


def a_gpu_that_the_cluster_lacks_is_missed() -> None:
    with pytest.raises(ClusterError, match="has no GPU"), RayCluster("auto", workers=1, device="cuda"):
        pass


def test_on_two_workers(two_workers, tmp_path) -> None:
    """One test, since each process of a test run would start a cluster of its own."""
    import ray

    # Workers take functions of this file though they cannot import it.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    killed_workers_lose_and_duplicate_nothing(tmp_path)
    results_come_in_the_order_of_the_items_up_to_the_error_of_a_worker(two_workers)
    what_kills_each_of_its_workers_ends_the_run(two_workers)
    a_gpu_that_the_cluster_lacks_is_missed()


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("local", {"workers": 0}, "0 workers were asked for"),
        ("local", {"workers": 1, "device": "cuda:1"}, "the device is 'cuda:1'"),
        ("ray://head:10001", {"workers": 1}, "is the address of a Ray client"),
        ("", {"workers": 1}, "'' is no address of a Ray cluster: give local, auto or HOST:PORT"),
        ("head", {"workers": 1}, "'head' is no address of a Ray cluster"),
    ],
)
def test_what_no_cluster_can_do_is_said_before_one_is_asked(address, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        RayCluster(address, **options)


def test_without_ray_its_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'ar-core\[ray\]'"), RayCluster("local", workers=1):
        pass


def test_a_client_address_in_the_environment_is_refused_where_ray_would_take_it(monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ConfigError, match="'ray://head:10001' is the address of a Ray client"):
        RayCluster("auto", workers=1)
    RayCluster("head:6379", workers=1)


def test_a_version_that_differs_is_told_whole(monkeypatch) -> None:
    ray = pytest.importorskip("ray", reason="the package ray is not installed")

    def init(**options):
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.61\nThis process:\n    Ray: 2.60\n"
        )

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(ClusterError, match=r"Ray: 2\.61 This process: Ray: 2\.60\): .* its versions"),
        RayCluster("auto", workers=1),
    ):
        pass


def test_work_finds_the_folder_and_the_variables_of_the_command(tmp_path, monkeypatch) -> None:
    """Whatever those of the process that does it are."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AR_DATA_DIR", "of the command")
    place = _place()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("AR_DATA_DIR", "of the machine")
    assert json.loads(_answered(place, lambda: [os.getcwd(), os.environ["AR_DATA_DIR"]])) == {
        "value": [str(tmp_path), "of the command"]
    }
    answer = json.loads(_answered((str(tmp_path / "missing"), {}), list))
    assert answer["error"] == "ClusterError"
    assert "missing' is not there on the machine" in answer["text"]
