"""n-gram files that lie about their tables, and configs of LLaDA that ask for too much."""

import gzip
import json

import pytest
import torch
from ar_core.errors import CheckpointError, DataError, UnsupportedModelError
from ar_core.io import write_tensors
from dlm_text.diffuspec import arpa
from dlm_text.diffuspec.arpa import read_arpa
from dlm_text.diffuspec.backoff_model import BackoffModel, NgramTable
from dlm_text.diffuspec.llada import load_llada

TEXT = "\\data\\\n\n\\1-grams:\n-1 <s> -1\n-1 1 -1\n\n\\2-grams:\n-1 <s> 1\n\n\\end\\\n"


@pytest.mark.parametrize(
    "change",
    [
        ("-1 1 -1", f"-1 {'9' * 5000} -1"),
        ("-1 1 -1", "nan 1 -1"),
        ("-1 1 -1", "-1 1 inf"),
        ("\\2-grams:", f"\\{'9' * 5000}-grams:"),
    ],
)
def test_numbers_that_are_none(tmp_path, change):
    (tmp_path / "a.arpa").write_text(TEXT)
    assert read_arpa(tmp_path / "a.arpa", 4).history == 1
    (tmp_path / "a.arpa").write_text(TEXT.replace(*change))
    with pytest.raises(DataError, match=r"Line \d+ of"):
        read_arpa(tmp_path / "a.arpa", 4)


def test_damaged_and_endless_streams(tmp_path, monkeypatch):
    path = tmp_path / "a.arpa.gz"
    packed = bytearray(gzip.compress(TEXT.encode() * 50))
    packed[40:60] = bytes(20)
    path.write_bytes(packed)
    with pytest.raises(DataError, match="cannot be read"):
        read_arpa(path, 4)
    monkeypatch.setattr(arpa, "LONGEST", 100)
    path.write_bytes(gzip.compress(b"x" * 10_000))
    with pytest.raises(DataError, match="Line 1 of"):
        read_arpa(path, 4)


def tables(**changes):
    good = {
        "unigrams": torch.zeros(6),
        "unigram_backoffs": torch.zeros(6),
        "2.keys": torch.tensor([1, 9]),
        "2.log_probs": torch.zeros(2),
        "2.backoffs": torch.zeros(2),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "order"),
    [
        ({"2.keys": torch.tensor([9, 1])}, "2"),
        ({"2.keys": torch.tensor([-1, 1])}, "2"),
        ({"2.keys": torch.tensor([1.0, 9.0])}, "2"),
        ({"2.keys": torch.tensor([1])}, "2"),
        ({"2.backoffs": torch.zeros(3)}, "2"),
        ({"2.log_probs": torch.full((2,), torch.nan)}, "2"),
        ({"unigrams": torch.zeros(2, 3)}, "2"),
        ({"unigrams": torch.zeros(2), "unigram_backoffs": torch.zeros(2)}, "2"),
        ({"2.keys": None}, "2"),
        ({}, "3"),
        ({}, "x"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, changes, order):
    BackoffModel(
        torch.zeros(6), torch.zeros(6), [NgramTable(torch.tensor([1, 9]), torch.zeros(2), torch.zeros(2))]
    ).save(tmp_path / "good.safetensors")
    assert BackoffModel.load(tmp_path / "good.safetensors").vocab_size == 4
    write_tensors(tmp_path / "a.safetensors", tables(**changes), {"format": "ar-ngram-1", "order": order})
    with pytest.raises(CheckpointError, match=r"do not fit|lacks a table"):
        BackoffModel.load(tmp_path / "a.safetensors")


LLADA = {"n_heads": 2, "d_model": 8, "mlp_hidden_size": 8, "n_layers": 1, "vocab_size": 8, "max_sequence_length": 8}


@pytest.mark.parametrize(
    "config",
    [
        [],
        3,
        {**LLADA, "n_layers": 10**9},
        {**LLADA, "d_model": 2**40},
        {**LLADA, "n_heads": 0},
        {**LLADA, "d_model": "x"},
    ],
)
def test_configs_of_llada_that_no_weights_fill(tmp_path, config):
    write_tensors(tmp_path / "model.safetensors", {"model.transformer.wte.weight": torch.zeros(8, 8)})
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises((CheckpointError, UnsupportedModelError)):
        load_llada(tmp_path)
