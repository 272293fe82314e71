"""Mixes that hold themselves, records that name no files, configs that ask for too much."""

import json

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from dvlm.data.files import read_conversations
from dvlm.decoding.requests import read_requests
from dvlm.layouts.load import load_vision_language
from dvlm.layouts.save import save_vision_language
from dvlm.layouts.stage1 import load_connector
from tiny_vision_language import assembled


def test_a_mix_that_holds_itself(tmp_path):
    (tmp_path / "a.yaml").write_text("datasets: [{json_path: b.yaml}]")
    (tmp_path / "b.yaml").write_text("datasets: [{json_path: a.yaml}]")
    with pytest.raises(ConfigError, match=r"a\.yaml is a mix that holds itself"):
        read_conversations(tmp_path / "a.yaml")


@pytest.mark.parametrize("strategy", ["random:inf%", "first:nan%", "end:1e999%", f"first:{'9' * 5000}"])
def test_strategies_of_no_number(tmp_path, strategy):
    (tmp_path / "a.json").write_text("[{}]")
    (tmp_path / "a.yaml").write_text(json.dumps({"datasets": [{"json_path": "a.json", "sampling_strategy": strategy}]}))
    with pytest.raises(ConfigError, match="sampling_strategy"):
        read_conversations(tmp_path / "a.yaml")


def test_records_that_are_too_deep_or_have_no_folder(tmp_path):
    (tmp_path / "a.json").write_text("[" * 9999)
    with pytest.raises(DataError, match="not valid JSON"):
        read_conversations(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "a", "image": "x", "image_root": 3}) + "\n")
    with pytest.raises(DataError, match="image_root is 3"):
        read_requests(tmp_path / "a.jsonl", None, limit=1)


@pytest.mark.parametrize(
    "content", [{1: torch.zeros(1)}, {"mm_projector.image_newline": torch.zeros(3)}, [torch.zeros(1)]]
)
def test_a_connector_of_other_keys_and_shapes(tmp_path, content):
    torch.save(content, tmp_path / "mm_projector.bin")
    with pytest.raises(CheckpointError, match=r"mm_projector\.bin"):
        load_connector(assembled(newline=True), tmp_path)


@pytest.mark.parametrize(
    "change", [{"num_hidden_layers": 10**9}, {"hidden_size": 2**24}, {"num_attention_heads": 0}, {"vocab_size": 2**50}]
)
def test_a_config_asks_for_no_more_than_the_weights_fill(tmp_path, change):
    from dvlm.settings import Settings

    save_vision_language(assembled(), tmp_path / "model", Settings())
    path = tmp_path / "model" / "language" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError):
        load_vision_language(tmp_path / "model")
