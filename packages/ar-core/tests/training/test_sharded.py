"""Runs whose weights, gradients, moments and averages are shared among processes by FSDP2: what they leave, and how they go on."""

import json
import random

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, ResumeError
from ar_core.io import read_tensors, write_tensors
from ar_core.training import checkpoint, train
from ar_core.training.layer_stack import longest_stack
from ar_core.training.parts import Rows, read_parts
from ar_core.training.ranks import Ranks
from ar_core.training.reached import with_all_reached
from ar_core.training.shards import Shards
from ar_core.training.step import TrainStep
from torch import nn

SHARDED = {"sharding": "fsdp2", "checkpoint_every_steps": 4}


@pytest.fixture(scope="module")
def runs(kills, toy):
    with kills.Runs(toy.__file__, "together", steps=8, micro_batch_size=3, **SHARDED) as runs:
        yield runs


def alone(toy, directory, **settings):
    """The same run in one process, which holds everything."""
    toy.run_deep(directory, steps=8, **settings)
    return read(directory)


def read(directory):
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    return {
        "losses": [line["loss"] for line in steps],
        "norms": [line["grad_norm"] for line in steps],
        "held out": [line["evaluation"]["held_out"] for line in lines if "evaluation" in line][-1:],
    }


def close(found, expected):
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers, rel=2e-5), name


def models_close(found, expected):
    for folder in ("final", "best"):
        mine, theirs = (read_tensors(one / folder / "model.safetensors") for one in (found, expected))
        assert mine.keys() == theirs.keys()
        for name, tensor in theirs.items():
            torch.testing.assert_close(mine[name], tensor, rtol=1e-5, atol=1e-6, msg=f"{folder}: {name}")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sharding_unit": "model", "weight_decay": 0.1},
        {"sharding_unit": "model", "rivals": True},
        {"precision": "bf16"},
    ],
)
def test_two_processes_follow_the_run_of_one_and_leave_its_models(toy, runs, tmp_path, settings):
    expected = alone(toy, tmp_path / "alone", **settings)
    runs.uninterrupted(tmp_path / "shared", **settings)
    found = read(tmp_path / "shared")
    if settings.get("precision") == "bf16":
        # Products of other shapes round otherwise.
        assert found["losses"] == pytest.approx(expected["losses"], rel=2e-3)
        return
    close(found, expected)
    models_close(tmp_path / "shared", tmp_path / "alone")


def test_each_process_holds_and_writes_its_rows(runs, tmp_path):
    runs.uninterrupted(tmp_path / "shared")
    folder = tmp_path / "shared" / "step-00000008"
    for group in ("weights", "optimizer", "ema"):
        first, second = (read_tensors(folder / f"{group}-0000{part}-of-00002.safetensors") for part in (1, 2))
        kind = "/exp_avg" if group == "optimizer" else ""
        assert first[f"model.read.weight{kind}"].shape == (4, 5)
        assert second[f"model.read.weight{kind}"].shape == (3, 5)
        assert f"model.gain{kind}" not in second
    saved = checkpoint.load(folder)
    assert saved.tensors["weights"]["model.blocks.1.0.weight"].shape == (7, 7)
    part = checkpoint.load(folder, {"model.read.weight": Rows(3, 6, 7)})
    for group, name in (("weights", "model.read.weight"), ("optimizer", "model.read.weight/exp_avg_sq")):
        assert torch.equal(part.tensors[group][name], saved.tensors[group][name][3:6])
    with pytest.raises(ResumeError, match=r"model\.read\.weight has 7 rows and should have 8"):
        checkpoint.load(folder, {"model.read.weight": Rows(4, 8, 8)})


@pytest.mark.parametrize("parts", [0, 3, "2", None])
def test_parts_that_cannot_be_are_no_checkpoint(toy, tmp_path, parts):
    toy.run_deep(tmp_path, steps=4)
    record = tmp_path / "step-00000004" / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"parts": parts}))
    with pytest.raises(ResumeError, match="cannot be read"):
        checkpoint.load(record.parent)


def test_parts_of_other_widths_are_refused(tmp_path):
    for part, shape in enumerate([(2, 3), (2, 4)]):
        write_tensors(tmp_path / f"{part}.safetensors", {"weight": torch.zeros(shape)})
    with pytest.raises(CheckpointError, match="holds parts that cannot be read together"):
        read_parts([tmp_path / "0.safetensors", tmp_path / "1.safetensors"], lambda name: None)


def test_any_number_of_processes_continues_sharded_or_not(toy, runs, tmp_path):
    settings = {"warmup_steps": 0, "batch_size": 12}
    expected = alone(toy, tmp_path / "alone", **settings)
    directory = tmp_path / "moved"
    toy.run_deep(directory, steps=2, **settings)
    for steps, processes, more in (
        (4, 2, {}),
        (5, 3, {}),
        (6, 2, {"sharding": "none"}),
        (7, 2, {"checkpoint_async": True}),
    ):
        runs.uninterrupted(directory, steps=steps, processes=processes, **settings | more)
    toy.run_deep(directory, steps=8, **settings)
    close(read(directory), expected)
    models_close(directory, tmp_path / "alone")


@pytest.mark.parametrize("how", [{}, {"checkpoint_async": True}])
def test_killed_at_any_moment_it_leaves_the_same(kills, runs, tmp_path, how):
    settings = {"dropout": 0.2, "keep": 1, **how}
    seconds = runs.uninterrupted(tmp_path / "whole", **settings)
    expected = kills.state(tmp_path / "whole")
    moments = random.Random(7)
    shots = [{"dying": 0, "boundary": boundary} for boundary in (range(60, 200, 59) if how else range(12, 200, 37))]
    shots += [{"dying": 1, "boundary": boundary} for boundary in (3, 14)]
    hits = 0
    for number, shot in enumerate(shots):
        directory = tmp_path / str(number)
        hits += runs.killed_at(directory, shot["boundary"], dying=shot["dying"], **settings)
        runs.killed_after(directory, moments.uniform(0.3, 1) * seconds, **settings)
        runs.uninterrupted(directory, **settings)
        assert kills.state(directory) == expected, shot
    assert hits >= len(shots) // 2


def test_a_part_that_is_missing_makes_an_older_checkpoint_the_newest(runs, tmp_path, capfd):
    runs.uninterrupted(tmp_path / "shared")
    (tmp_path / "shared" / "step-00000008" / "ema-00002-of-00002.safetensors").unlink()
    assert checkpoint.latest(tmp_path / "shared").name == "step-00000004"
    assert "ema-00002-of-00002.safetensors is missing" in capfd.readouterr().err


@pytest.mark.parametrize("full", [0, 1])
def test_a_disk_that_is_full_for_one_process_ends_all_with_what_was_there(runs, tmp_path, full):
    directory = tmp_path / "shared"
    runs.uninterrupted(directory, full_disk=full, checkpoint_every_steps=2)
    errors = [directory.with_name(f"shared-error-{rank}.txt").read_text() for rank in (0, 1)]
    assert "No space left on device" in errors[full]
    assert "another process of the run could not write its part" in errors[1 - full]
    assert [path.name for path in directory.iterdir() if path.name.startswith(("step", ".tmp", "final"))] == [
        "step-00000002"
    ]


def test_layers_that_are_not_passed_in_order_are_refused_by_name(runs, tmp_path):
    for order in ("twice", "backwards", "not all", "by hand"):
        directory = tmp_path / order
        runs.uninterrupted(directory, order=order)
        error = directory.with_name(f"{order}-error-0.txt").read_text()
        assert ("passed" if order != "by hand" else "outside of its pass") in error
        assert error.endswith("set train.sharding_unit to model")
        assert not list(directory.glob("step-*"))


def test_one_process_has_nothing_to_share(toy, tmp_path):
    with pytest.raises(
        ConfigError, match="the run has one process, which has nothing to share: start several with --nproc"
    ):
        train(toy.job(), toy.config(sharding="fsdp2"))


def test_an_objective_that_changes_its_models_itself_is_refused(toy):
    class Settles(toy.TwoTerms):
        def after_step(self, models, step, ranks):
            pass

    module = TrainStep(Settles(), {"model": toy.model()})
    with pytest.raises(ConfigError, match="by other means than a gradient, for which they must be whole"):
        Shards(module, Ranks(0, 2), layers=True)


def test_every_parameter_is_reached_with_zero_if_nothing_else():
    used, unused = (torch.ones(2, 3, requires_grad=True) for _ in range(2))
    with_all_reached((2 * used).sum(), [used, unused]).backward()
    assert torch.equal(used.grad, torch.full((2, 3), 2.0))
    assert torch.equal(unused.grad, torch.zeros(2, 3))
    with_all_reached(torch.tensor(1.0), [unused]).backward()
    assert torch.equal(unused.grad, torch.zeros(2, 3))


def test_the_longest_stack_shares_nothing_with_the_rest():
    model = nn.Module()
    model.few = nn.ModuleList(nn.Linear(9, 9) for _ in range(2))
    model.many = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    assert longest_stack(model) == tuple(model.few)
    model.few.requires_grad_(False)
    assert longest_stack(model) == tuple(model.many)
    model.tied = nn.Linear(4, 4)
    model.tied.weight = model.many[1].weight
    assert longest_stack(model) == ()
