from argparse import Namespace

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_entry, read_weights, unwrap, write_tensors
from torch import nn


def state():
    return {"blocks.0.module.weight": torch.ones(2), "head.bias": torch.zeros(3)}


def prefixed(prefix):
    return {prefix + name: tensor for name, tensor in state().items()}


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        (state(), ()),
        ({"model": state()}, ()),
        ({"module": state(), "epoch": 3}, ()),
        ({"state_dict": state(), "optimizer": {"state": {}}}, ()),
        ({"trainer": state(), "args": {"lr": 1.0}, "epoch": 1}, ()),
        ({"trainer": {"var_wo_ddp": state(), "vae_local": state(), "config": {}}}, ("var_wo_ddp",)),
        ({"trainer": {"gpt_fsdp": state(), "gpt_ema_fsdp": state()}}, ("gpt_fsdp",)),
        ({"model": state(), "ema": prefixed("")}, ()),
        ({"ema": state()}, ()),
        ({"vae": state(), "ema": state()}, ()),
        (prefixed("_orig_mod."), ()),
        (prefixed("module._orig_mod."), ()),
        ({"model": prefixed("_orig_mod.module.")}, ()),
        ({"blocks.0._checkpoint_wrapped_module.module.weight": torch.ones(2), "head.bias": torch.zeros(3)}, ()),
    ],
)  # fmt: skip
def test_every_container_gives_the_flat_names(content, inside):
    found = unwrap(content, inside=inside)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "blocks.0.module.weight": [1, 1],
        "head.bias": [0, 0, 0],
    }


def test_the_average_is_taken_where_it_is_asked_for():
    content = {"trainer": {"gpt_fsdp": state(), "gpt_ema_fsdp": {"head.bias": torch.ones(1)}}}
    assert list(unwrap(content, inside=("gpt_fsdp",), entry="trainer.gpt_ema_fsdp")) == ["head.bias"]
    assert list(unwrap({"model": state(), "ema": {"a": torch.ones(1)}}, entry="ema")) == ["a"]


def test_a_preferred_entry_is_taken_where_it_is_there_and_none_is_named(tmp_path):
    torch.save({"model": state(), "ema": {"a": torch.ones(1)}}, tmp_path / "a.pth")
    torch.save({"model": state()}, tmp_path / "b.pth")
    write_tensors(tmp_path / "c.safetensors", state())
    for name, preferred, entry, taken in (
        ("a.pth", "ema", None, "ema"),
        ("a.pth", "ema", "model", "model"),
        ("a.pth", None, None, "model"),
        ("b.pth", "ema", None, "model"),
        ("c.safetensors", "ema", None, ""),
    ):
        found, weights = read_entry(tmp_path / name, entry=entry, preferred=preferred)
        assert (found, set(weights)) == (taken, {"a"} if taken == "ema" else set(state()))


def test_an_entry_of_any_name_is_found_where_it_is_asked_for():
    content = {"net": {"inner": state(), "ignored": {"a": torch.ones(1)}}, "epoch": 3}
    assert set(unwrap(content, entry="net.inner")) == set(state())
    with pytest.raises(CheckpointError, match="holds no weights"):
        unwrap(content)
    with pytest.raises(CheckpointError, match=r"no weights under 'net\.outer'; it has them under no entry"):
        unwrap({"net": {"outer": 3}}, entry="net.outer")


@pytest.mark.parametrize(
    ("content", "entry", "part"),
    [
        ({"epoch": 3, "args": {}}, None, "holds no weights.*'epoch', 'args'"),
        ([1], None, "holds no weights.*a list"),
        ({"model": state(), "state_dict": state()}, None, "under 'model', 'state_dict': say which"),
        ({"model": state()}, "ema", "no weights under 'ema'; it has them under 'model'"),
        ({"a": torch.ones(1), "_orig_mod.a": torch.ones(1)}, None, "'a' with and without"),
    ],
)
def test_what_cannot_be_unwrapped_is_said(content, entry, part):
    with pytest.raises(CheckpointError, match=part):
        unwrap(content, entry=entry)


def test_files_of_all_kinds(tmp_path):
    write_tensors(tmp_path / "a.safetensors", prefixed("module."))
    torch.save({"model": state(), "args": Namespace(lr=1.0), "epoch": 1}, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert set(read_weights(tmp_path / name)) == set(state())


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path):
    torch.save({"model": nn.Linear(2, 2).state_dict(), "payload": Payload()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        read_weights(tmp_path / "a.pth")
    assert not Payload.ran
