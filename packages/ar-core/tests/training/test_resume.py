import errno
import json
import os

import pytest
import safetensors.torch
import torch
from ar_core.errors import CheckpointError, ResumeError
from ar_core.training import checkpoint, train
from ar_core.training.lock import directory_lock


@pytest.fixture
def settings(tmp_path):
    return {"checkpoint_dir": str(tmp_path), "checkpoint_every_steps": 4, "schedule": "linear", "ema": 0.8}


def names(directory):
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith(".lock"))


class Stop(Exception):
    pass


def stopped_at(toy, settings, step):
    """Run until a step's record, then raise: a crash after the checkpoints before it."""

    def report(record):
        if record["step"] == step:
            raise Stop

    with pytest.raises(Stop):
        train(toy.job(model=toy.model(dropout=0.2)), toy.config(**settings), report=report)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 3])
def test_resumed_equals_uninterrupted_bit_for_bit(toy, settings, tmp_path, workers):
    whole_dir = tmp_path / "whole"
    whole = train(toy.job(model=toy.model(dropout=0.2)), toy.config(**settings | {"checkpoint_dir": str(whole_dir)}))
    directory = tmp_path / "part"
    part = settings | {"checkpoint_dir": str(directory), "num_workers": workers}
    stopped_at(toy, part, 7)
    rest = train(toy.job(model=toy.model(dropout=0.2)), toy.config(**part), resume="must")
    assert rest.resumed_from == 4
    assert rest.losses == whole.losses[4:]
    for name in ("weights", "optimizer", "ema"):
        file = f"step-00000012/{name}.safetensors"
        assert (directory / file).read_bytes() == (whole_dir / file).read_bytes(), name
    steps = [json.loads(line)["step"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))


def test_only_the_newest_are_kept(toy, settings, tmp_path):
    train(toy.job(), toy.config(**settings | {"checkpoint_every_steps": 2, "keep": 3}))
    assert names(tmp_path) == [
        "final",
        "final.json",
        "metrics.jsonl",
        "step-00000008",
        "step-00000010",
        "step-00000012",
    ]


def test_a_checkpoint_holds_what_is_trained_and_nothing_frozen(toy, tmp_path):
    net = toy.model()
    net[0].requires_grad_(False)
    net.register_buffer("codes", torch.ones(2))
    net.register_buffer("scratch", torch.ones(2), persistent=False)
    models = {"model": net, "teacher": toy.model(1)}
    train(toy.job(models=models, model=net), toy.config(tmp_path))
    saved = checkpoint.load(tmp_path / "step-00000012")
    assert set(saved.tensors["weights"]) == {"model.3.weight", "model.3.bias", "model.codes"}
    assert set(saved.tensors) == {"weights", "optimizer"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lr": 0.5}, r"train\.lr was 0\.01 in the checkpoint .*step-00000012 and is 0\.5 now"),
        ({"batch_size": 4}, r"train\.batch_size was 8"),
        ({"seed": 1}, r"train\.seed was 0"),
        ({"steps": 24}, r"train\.steps was 12"),
        ({"ema": None}, r"train\.ema was 0\.8"),
        ({"schedule": "cosine"}, r"train\.schedule was linear"),
    ],
)
def test_settings_that_change_the_run_are_named(toy, settings, change, sentence):
    train(toy.job(), toy.config(**settings))
    with pytest.raises(ResumeError, match=sentence):
        train(toy.job(), toy.config(**settings | change))


def test_settings_that_do_not_may_change(toy, settings):
    train(toy.job(), toy.config(**settings))
    free = {"micro_batch_size": 2, "num_workers": 1, "keep": 1, "log_every": 5, "checkpoint_every_steps": 1}
    assert train(toy.job(), toy.config(**settings | free)).resumed_from == 12


def test_a_constant_schedule_can_be_made_longer(toy, tmp_path):
    train(toy.job(), toy.config(tmp_path, steps=5))
    rest = train(toy.job(), toy.config(tmp_path, steps=9))
    assert rest.losses == train(toy.job(), toy.config(steps=9)).losses[5:]
    with pytest.raises(ResumeError, match="has done 9 steps and the run has only 5: raise steps"):
        train(toy.job(), toy.config(tmp_path, steps=5))


def test_a_longer_run_that_died_before_its_final_model_does_not_keep_that_of_the_shorter(toy, tmp_path):
    train(toy.job(), toy.config(tmp_path / "killed", steps=5))

    def dies(path):
        raise Stop

    with pytest.raises(Stop):
        train(toy.job(save=dies), toy.config(tmp_path / "killed", steps=9))
    assert train(toy.job(), toy.config(tmp_path / "killed", steps=9)).losses == []
    train(toy.job(), toy.config(tmp_path / "whole", steps=9))
    final = "final/model.safetensors"
    assert (tmp_path / "killed" / final).read_bytes() == (tmp_path / "whole" / final).read_bytes()
    record = tmp_path / "killed" / "final.json"
    noted = record.read_text()
    record.unlink()
    train(toy.job(), toy.config(tmp_path / "killed", steps=9))
    assert record.read_text() == noted


def test_a_run_from_before_settings_of_players_and_training_existed_is_continued_where_they_are_at_their_defaults(
    toy, settings, tmp_path
):
    train(toy.job(), toy.config(**settings))
    for folder in tmp_path.glob("step-*"):
        record, sizes = (json.loads((folder / name).read_text()) for name in ("run.json", "complete.json"))
        (player,) = record["run"]["objective"]["players"]
        assert (player.pop("no_decay"), record["run"]["train"].pop("hold_steps")) == ([], 0)
        sizes["run.json"] = (folder / "run.json").write_text(json.dumps(record))
        (folder / "complete.json").write_text(json.dumps(sizes))
    train(toy.job(), toy.config(**settings), resume="must")
    with pytest.raises(ResumeError, match=r"train\.hold_steps was 0 .* and is 2 now"):
        train(toy.job(), toy.config(**settings, hold_steps=2))


def test_a_run_from_before_a_setting_existed_is_continued_where_it_is_null(toy, settings):
    train(toy.job(identity={"model": {"path": "m"}}), toy.config(**settings))
    train(toy.job(identity={"model": {"path": "m", "layers": None}}), toy.config(**settings), resume="must")
    with pytest.raises(ResumeError, match=r"job\.model\.layers was absent .* and is 2 now"):
        train(toy.job(identity={"model": {"path": "m", "layers": 2}}), toy.config(**settings))


def test_other_data_model_or_method_is_named(toy, settings):
    train(toy.job(identity={"method": {"block_size": 8}}), toy.config(**settings))
    same = {"identity": {"method": {"block_size": 8}}}
    with pytest.raises(ResumeError, match=r"data\.seed was 0 .* and is 3 now"):
        train(toy.job(source=toy.Source(3), **same), toy.config(**settings))
    with pytest.raises(ResumeError, match=r"job\.method\.block_size was 8 .* and is 4 now"):
        train(toy.job(identity={"method": {"block_size": 4}}), toy.config(**settings))
    with pytest.raises(
        ResumeError, match=r"another model \(model\.0\.bias is \[8\] float32 there and \[8\] bfloat16 in"
    ):
        train(toy.job(model=toy.model().to(torch.bfloat16), **same), toy.config(**settings))
    wider = torch.nn.Sequential(torch.nn.Linear(5, 9), torch.nn.Linear(9, 5))
    with pytest.raises(
        ResumeError, match=r"another model \(model\.0\.bias is \[8\] float32 there and \[9\] float32 in"
    ):
        train(toy.job(model=wider, **same), toy.config(**settings))


def test_a_broken_newest_checkpoint_gives_way_to_an_older_one_aloud(toy, settings, tmp_path, capsys):
    whole = train(toy.job(), toy.config(**settings))
    file = tmp_path / "step-00000012" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert train(toy.job(), toy.config(**settings)).losses == whole.losses[8:]
    assert "step-00000012 is broken (weights.safetensors has" in capsys.readouterr().err
    assert checkpoint.latest(tmp_path).name == "step-00000012"


@pytest.mark.parametrize("damage", ["truncated", "missing file", "missing marker", "garbage marker"])
def test_a_directory_of_broken_checkpoints_is_an_error_and_not_a_fresh_start(toy, settings, tmp_path, damage):
    train(toy.job(), toy.config(**settings))
    for folder in tmp_path.glob("step-*"):
        if damage == "truncated":
            (folder / "optimizer.safetensors").write_bytes(b"")
        elif damage == "missing file":
            (folder / "run.json").unlink()
        elif damage == "missing marker":
            (folder / "complete.json").unlink()
        else:
            (folder / "complete.json").write_text("{")
    before = names(tmp_path)
    for resume in ("auto", "must"):
        with pytest.raises(ResumeError, match=r"is broken .* no complete checkpoint is beside it"):
            train(toy.job(), toy.config(**settings), resume=resume)
    assert names(tmp_path) == before


def test_content_damaged_without_a_change_of_size(toy, settings, tmp_path):
    train(toy.job(), toy.config(**settings))
    file = tmp_path / "step-00000012" / "weights.safetensors"
    file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(ResumeError, match=r"cannot be read .* restore it, or remove it to continue from an older one"):
        train(toy.job(), toy.config(**settings))


def test_never_demands_an_empty_directory(toy, settings, tmp_path):
    train(toy.job(), toy.config(**settings), resume="never")
    with pytest.raises(ResumeError, match="holds a run and resume is 'never'"):
        train(toy.job(), toy.config(**settings), resume="never")


def test_disk_full_while_saving_keeps_the_previous_checkpoint(toy, settings, tmp_path, monkeypatch):
    save_file = safetensors.torch.save_file

    def full(tensors, path, metadata=None):
        if "step-00000008" in str(path) and "optimizer" in str(path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(tensors, path, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(CheckpointError, match=r"step-00000008 cannot be written \(No space left on device\)"):
        train(toy.job(), toy.config(**settings))
    assert names(tmp_path) == ["metrics.jsonl", "step-00000004"]
    monkeypatch.undo()
    whole = train(toy.job(), toy.config(schedule="linear", ema=0.8))
    assert train(toy.job(), toy.config(**settings)).losses == whole.losses[4:]


def test_two_processes_in_one_directory_are_refused(toy, settings, tmp_path):
    with directory_lock(tmp_path), pytest.raises(ResumeError, match="another process is training in"):
        train(toy.job(), toy.config(**settings))


def test_by_the_clock(toy, tmp_path):
    train(toy.job(), toy.config(tmp_path, steps=3, keep=9, checkpoint_every_seconds=0.0))
    assert [name for name in names(tmp_path) if "step" in name] == [f"step-{step:08d}" for step in (1, 2, 3)]
