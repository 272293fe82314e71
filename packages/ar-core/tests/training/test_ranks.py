import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.training import train
from ar_core.training.batches import StepDataset
from ar_core.training.ranks import Ranks


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def torchrun(toy, settings, out, processes=2):
    """Run the toy job in so many processes; returns (losses and step, or None; standard error)."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-addr", "127.0.0.1",
        "--master-port", free_port(), toy.__file__, json.dumps(settings), str(out),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return (json.loads(out.read_text()) if out.exists() else None), done.stderr


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ranks")
    return {
        "steps": 8, "batch_size": 8, "micro_batch_size": 3, "lr": 1e-2, "device": "cpu", "log_every": 1,
        "checkpoint_dir": str(directory), "checkpoint_every_steps": 3, "ema": 0.9,
    }  # fmt: skip


def test_two_processes_agree_with_one_and_resume_each_others_checkpoints(toy, settings, tmp_path):
    plain = {name: value for name, value in settings.items() if not name.startswith("checkpoint")}
    whole = train(toy.job(), toy.config(**plain)).losses
    result, errors = torchrun(toy, settings | {"steps": 5}, tmp_path / "first.json")
    assert result is not None, errors
    assert result["losses"] == pytest.approx(whole[:5], abs=1e-5)
    alone = shutil.copytree(settings["checkpoint_dir"], tmp_path / "alone")
    rest = train(toy.job(), toy.config(**settings | {"checkpoint_dir": str(alone)}))
    assert rest.resumed_from == 5
    assert rest.losses == pytest.approx(whole[5:], abs=1e-5)
    result, errors = torchrun(toy, settings | {"sharding": "fsdp2"}, tmp_path / "second.json")
    assert result is not None, errors
    assert result["losses"] == pytest.approx(whole[5:], abs=1e-5)


def test_lightning_under_ddp_agrees_and_continues(toy, settings, tmp_path):
    pytest.importorskip("lightning")
    plain = {name: value for name, value in settings.items() if not name.startswith("checkpoint")}
    whole = train(toy.job(), toy.config(**plain)).losses
    settings = settings | {"checkpoint_dir": str(tmp_path), "driver": "lightning"}
    train(toy.job(), toy.config(**plain | {"steps": 3, "checkpoint_dir": str(tmp_path)}))
    result, errors = torchrun(toy, settings, tmp_path / "out.json")
    assert result is not None, errors
    assert result["losses"] == pytest.approx(whole[3:], abs=1e-5)


def test_the_corruption_of_a_step_is_the_same_however_it_is_shared(toy):
    def hidden(ranks, micro):
        config = toy.config(steps=2, batch_size=8, micro_batch_size=micro)
        parts = [list(StepDataset(toy.job(), config, Ranks(rank, ranks))) for rank in range(ranks)]
        return [torch.cat([p.tensors["hidden"] for part in parts for p in part[step]]) for step in range(2)]

    whole = hidden(1, 8)
    for ranks, micro in ((1, 4), (1, 3), (2, 4), (2, 3), (4, 2), (8, 1)):
        assert all(torch.equal(a, b) for a, b in zip(whole, hidden(ranks, min(micro, 8 // ranks)))), (ranks, micro)


def test_a_batch_that_does_not_share_out_is_refused(toy):
    with pytest.raises(ConfigError, match=r"batch_size is 8 and the run has 3 ranks: .* choose a multiple"):
        StepDataset(toy.job(), toy.config(), Ranks(0, 3))
