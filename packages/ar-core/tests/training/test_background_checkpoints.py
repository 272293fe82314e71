"""Checkpoints that a thread writes: the same files, of the moment they were asked for, and errors that reach the run."""

import threading

import pytest
from ar_core.errors import CheckpointError
from ar_core.training import checkpoint, train


def settings(directory, **more):
    return {"checkpoint_dir": str(directory), "checkpoint_every_steps": 3, "keep": 9, "ema": 0.9, **more}


def test_the_same_files_as_without(toy, kills, tmp_path):
    for name in ("beside", "between"):
        toy.run(tmp_path / name, steps=10, checkpoint_every_steps=3, checkpoint_async=name == "beside")
    assert kills.state(tmp_path / "beside") == kills.state(tmp_path / "between")


def test_what_is_written_is_the_state_at_its_step_and_not_later(toy, tmp_path, monkeypatch):
    train(toy.job(), toy.config(**settings(tmp_path / "between")))
    save, moved = checkpoint.save, threading.Event()

    def late(directory, snapshot, keep):
        # The steps up to the next checkpoint are done meanwhile.
        assert snapshot.step != 3 or moved.wait(30)
        return save(directory, snapshot, keep)

    def report(record):
        if record["step"] == 5:
            moved.set()

    monkeypatch.setattr(checkpoint, "save", late)
    train(toy.job(), toy.config(**settings(tmp_path / "beside", checkpoint_async=True)), report=report)
    for group in ("weights", "optimizer", "ema"):
        file = f"step-00000003/{group}.safetensors"
        assert (tmp_path / "beside" / file).read_bytes() == (tmp_path / "between" / file).read_bytes(), group


@pytest.mark.parametrize("step", [3, 12])
def test_a_checkpoint_that_cannot_be_written_ends_the_run(toy, tmp_path, monkeypatch, step):
    save = checkpoint.save

    def full(directory, snapshot, keep):
        if snapshot.step == step:
            raise CheckpointError("the disk is full")
        return save(directory, snapshot, keep)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        train(toy.job(), toy.config(**settings(tmp_path, checkpoint_async=True)))
    assert not (tmp_path / "final").exists()
    assert checkpoint.latest(tmp_path) == (None if step == 3 else tmp_path / "step-00000009")


def test_a_run_may_go_on_in_the_other_way(toy, tmp_path):
    whole = train(toy.job(), toy.config()).losses
    losses = []
    for steps, beside in ((5, True), (9, False), (12, True)):
        config = toy.config(tmp_path, steps=steps, checkpoint_async=beside)
        losses += train(toy.job(), config).losses
    assert losses == whole
