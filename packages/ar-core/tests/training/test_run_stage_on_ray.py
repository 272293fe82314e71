"""What the command does beside its workers, with a cluster that is a few lines of this process."""

import importlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ar_core.training import Chunk, StageConfig, StageJob, run_stage_on_ray


class Elsewhere:
    """Does everything on a machine where $AR_STORE is another folder."""

    interrupt_call = interrupt_map = False

    def __init__(self, address: str, **options) -> None:
        pass

    def __enter__(self) -> "Elsewhere":
        os.environ["AR_STORE"] = "of-the-machine"
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def call(self, function, *arguments):
        if self.interrupt_call:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*arguments)

    def map(self, build, arguments, items):
        for item in items:
            if self.interrupt_map:
                os.kill(os.getpid(), signal.SIGINT)
            yield build(*arguments)(item)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Iterator[type[Elsewhere]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AR_STORE", "of-the-command")
    monkeypatch.setattr(importlib.import_module("ar_core.training.run_stage_on_ray"), "RayCluster", Elsewhere)
    # Workers of pytest-xdist ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Elsewhere
    signal.signal(signal.SIGINT, before)


def build() -> StageJob:
    return StageJob(range(6), lambda first, items: Chunk({"numbers": torch.tensor(items)}, {"items": len(items)}))


def run(**options):
    config = StageConfig(directory="$AR_STORE", chunk_size=2, **options)
    return run_stage_on_ray(build, config, address="auto", workers=2)


def test_the_folder_is_the_one_that_the_command_names(elsewhere) -> None:
    result = run(shard="1/2")
    assert (result.made, result.present, result.counts, result.interrupted) == (2, 0, {"items": 4}, False)
    assert [path.name for path in Path().iterdir()] == ["of-the-command"]


def test_a_signal_ends_the_survey_at_once_and_the_work_behind_a_chunk(elsewhere, monkeypatch) -> None:
    monkeypatch.setattr(elsewhere, "interrupt_call", True)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(elsewhere, "interrupt_call", False)
    monkeypatch.setattr(elsewhere, "interrupt_map", True)
    monkeypatch.setenv("AR_STORE", "of-the-command")
    result = run()
    assert (result.made, result.interrupted) == (1, True)
