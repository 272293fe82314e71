"""Configs of image models that ask for what their weights do not fill."""

import json

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_vision.checkpoint import load_checkpoint, save_checkpoint
from ar_vision.convert import convert
from ar_vision.ecm.checkpoint import load_controller


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 2**31},
        {"width": 2**20},
        {"heads": 3},
        {"vocab_size": 2**40},
        {"depth": -1},
        {"width": 0},
        {"num_classes": 2**62},
    ],
)
def test_no_memory_is_taken_for_a_config_that_is_not_that_of_the_weights(tmp_path, make_var, monkeypatch, change):
    save_checkpoint(tmp_path, make_var())
    record = json.loads((tmp_path / "config.json").read_text())
    record["config"] |= change
    (tmp_path / "config.json").write_text(json.dumps(record))
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *given, **more: pytest.fail("memory was taken"))
    with pytest.raises(CheckpointError, match=r"does not (fit|describe)|settings"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["[" * 9999, "[]", '{"kind": "var", "config": 3}', '{"kind": "\\ud800"}'])
def test_a_description_that_is_none(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    for load in (load_checkpoint, load_controller):
        with pytest.raises(CheckpointError, match=r"config\.json is no"):
            load(tmp_path)


@pytest.mark.parametrize("kind", ["vq", "var_vqvae", "bsq", "var", "llamagen"])
def test_published_files_of_other_shapes(tmp_path, kind):
    for tensors in (
        {"a": torch.zeros(1)},
        {"quantize.embedding.weight": torch.zeros(3), "encoder.conv_in.weight": torch.zeros(())},
    ):
        torch.save({"model": tensors}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=f"a.pt is no {kind} as published"):
            convert(kind, tmp_path / "a.pt", tmp_path / "made")
