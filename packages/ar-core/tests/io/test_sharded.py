import json

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_checkpoint, write_tensors


@pytest.fixture
def shards(tmp_path):
    write_tensors(tmp_path / "model-00001-of-00002.safetensors", {"a": torch.zeros(1)})
    write_tensors(tmp_path / "model-00002-of-00002.safetensors", {"b": torch.ones(2), "c": torch.ones(3)})
    map_ = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": map_ | {"c": map_["b"]}}))
    return tmp_path


def test_by_directory_and_by_index(shards):
    for path in (shards, shards / "model.safetensors.index.json"):
        assert {name: len(value) for name, value in read_checkpoint(path).items()} == {"a": 1, "b": 2, "c": 3}


def test_one_file_by_directory_whatever_its_name(tmp_path):
    write_tensors(tmp_path / "adapter.safetensors", {"a": torch.zeros(4)})
    assert read_checkpoint(tmp_path)["a"].shape == (4,)
    write_tensors(tmp_path / "model.safetensors", {"b": torch.zeros(4)})
    assert list(read_checkpoint(tmp_path)) == ["b"]


def test_faults_are_named(shards, tmp_path):
    (shards / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"names 2 files and 'model-00002-of-00002\.safetensors' is not beside it"
    ):
        read_checkpoint(shards)
    write_tensors(shards / "model-00002-of-00002.safetensors", {"b": torch.ones(2)})
    with pytest.raises(CheckpointError, match="promises 'c' and 0 more"):
        read_checkpoint(shards)
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="elsewhere"):
        read_checkpoint(shards)
    for text in ("{}", "[]", "no", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(CheckpointError, match="is no index"):
            read_checkpoint(shards)
    index.unlink()
    with pytest.raises(CheckpointError, match="2 safetensors files and no index"):
        read_checkpoint(shards)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no safetensors file"):
        read_checkpoint(tmp_path / "empty")
