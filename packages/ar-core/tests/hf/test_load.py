"""Loading, building and saving: round trips, and one sentence for every way a checkpoint can be wrong."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from ar_core.errors import BackendError, CheckpointError, ConfigError, UnsupportedModelError
from ar_core.hf import (
    HFBackbone,
    LlamaScratch,
    LoraConfig,
    ModelConfig,
    build_model,
    check_supported,
    load_causal_lm,
    load_tokenizer,
    save_pretrained,
)
from ar_core.hf.gguf import cache_folder, converted_gguf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    PreTrainedTokenizerFast,
)

SCRATCH = LlamaScratch(hidden=24, layers=2, heads=4, kv_heads=2, intermediate=40, vocab=50, context=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    loaded = build_model(ModelConfig(scratch=SCRATCH), seed=1)
    save_pretrained(loaded.model, tmp_path / "model", extra_config={"bd_size": 8})
    return tmp_path / "model"


def sentence(act) -> str:
    with pytest.raises(CheckpointError) as caught:
        act()
    return str(caught.value)


def rewrite(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_round_trip_and_plain_transformers_can_read_it(folder):
    expected = build_model(ModelConfig(scratch=SCRATCH), seed=1).model.state_dict()
    loaded = load_causal_lm(folder)
    assert not loaded.model.training
    assert loaded.source == str(folder)
    assert loaded.tokenizer is None
    for model in (loaded.model, AutoModelForCausalLM.from_pretrained(folder)):
        assert model.config.bd_size == 8
        state = model.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], value) for key, value in expected.items())
    assert "ar_core" not in (folder / "config.json").read_text()
    save_pretrained(loaded.model, folder)
    assert load_causal_lm(folder, dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_loading_leaves_the_global_generator_alone(folder):
    before = torch.get_rng_state()
    load_causal_lm(folder)
    build_model(ModelConfig(scratch=SCRATCH), seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_missing_unexpected_and_misshapen_keys_are_all_named(folder):
    def change(tensors):
        del tensors["model.layers.0.self_attn.q_proj.weight"], tensors["model.layers.1.self_attn.q_proj.weight"]
        tensors["model.layers.0.self_attn.q_norm.weight"] = torch.ones(6)
        tensors["model.norm.weight"] = torch.ones(25)

    rewrite(folder, change)
    text = sentence(lambda: load_causal_lm(folder))
    assert "does not fit its config of type 'llama'" in text
    assert "it lacks model.layers.{0-1}.self_attn.q_proj.weight" in text
    assert "it has model.layers.0.self_attn.q_norm.weight, which the model does not know" in text
    assert "model.norm.weight [25] instead of [24]" in text


def test_the_weights_of_another_architecture(folder):
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="qwen3", architectures=["Qwen3ForCausalLM"], head_dim=6)
    (folder / "config.json").write_text(json.dumps(config))
    text = sentence(lambda: load_causal_lm(folder))
    assert "it lacks model.layers.{0-1}.self_attn.k_norm.weight, model.layers.{0-1}.self_attn.q_norm.weight" in text


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 100)
    text = sentence(lambda: load_causal_lm(folder))
    assert "model.safetensors is truncated: its header promises" in text


def test_what_is_no_checkpoint(folder, tmp_path):
    assert "There is no checkpoint at './nowhere'; give a folder" in sentence(lambda: load_causal_lm("./nowhere"))
    assert "There is no checkpoint at 'word'" in sentence(lambda: load_causal_lm("word"))
    assert "is a file; give the folder that holds it" in sentence(lambda: load_causal_lm(folder / "model.safetensors"))
    (tmp_path / "empty").mkdir()
    assert "The config of" in sentence(lambda: load_causal_lm(tmp_path / "empty"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "warp9"}))
    assert "model_type 'warp9' cannot be used" in sentence(lambda: load_causal_lm(folder))
    for names in ([10**40], 5):
        (folder / "config.json").write_text(json.dumps({**config, "architectures": names, "dlm_paradigm": "x"}))
        assert "no list of names" in sentence(lambda: load_causal_lm(folder))


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "cannot be read" in sentence(lambda: load_causal_lm(folder))


def test_bidirectional_models_are_refused(tmp_path):
    BertForMaskedLM(
        BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises((CheckpointError, UnsupportedModelError), match="bert"):
        load_causal_lm(tmp_path / "bert")


def test_an_untested_family_is_checked_and_loaded(tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32)).save_pretrained(
        tmp_path / "gpt2"
    )
    assert HFBackbone(load_causal_lm(tmp_path / "gpt2").model).context_length == 32


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("MambaConfig", "'mamba' has .*state-space layers"),
        ("RwkvConfig", "recurrent layers"),
        ("RecurrentGemmaConfig", "recurrent layers"),
        ("Qwen3NextConfig", "linear-attention layers"),
        ("FalconH1Config", "state-space layers"),
        ("Lfm2Config", "recurrent layers"),
        ("Gemma2Config", "softcapped attention scores"),
        ("Gemma3nTextConfig", "layers that share keys and values"),
        ("Llama4TextConfig", "chunked-attention layers"),
        ("GptOssConfig", "attention sinks"),
        ("DeepseekV3Config", "latent attention"),
        ("T5Config", "an encoder"),
    ],
)
def test_unsupported_layers_are_refused_by_name(name, fault):
    import transformers

    with pytest.raises(UnsupportedModelError, match=fault):
        check_supported(getattr(transformers, name)())


def test_a_recurrent_checkpoint_is_refused_before_its_weights_are_read(tmp_path):
    MambaConfig().save_pretrained(tmp_path / "mamba")
    with pytest.raises(UnsupportedModelError, match="use a dense decoder with full or sliding-window attention"):
        load_causal_lm(tmp_path / "mamba")


def test_scratch_models_depend_on_the_seed_alone():
    models = [build_model(ModelConfig(scratch=SCRATCH), seed=seed).model for seed in (5, 5, 6)]
    states = [torch.cat([p.flatten() for p in model.parameters()]) for model in models]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert models[0].training
    assert models[0].lm_head.weight is models[0].model.embed_tokens.weight


def test_lora_trains_few_weights_and_is_merged_when_saved(folder, tmp_path):
    loaded = build_model(ModelConfig(path=str(folder), lora=LoraConfig(rank=2, alpha=4)), seed=2)
    trained = [name for name, p in loaded.model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    ids, positions = torch.arange(6)[None], torch.arange(6)[None]
    with torch.no_grad():
        expected = HFBackbone(loaded.model.eval()).hidden(ids, positions=positions, mask=None)
        save_pretrained(loaded.model, tmp_path / "merged")
        got = HFBackbone(load_causal_lm(tmp_path / "merged").model).hidden(ids, positions=positions, mask=None)
        base = HFBackbone(load_causal_lm(folder).model).hidden(ids, positions=positions, mask=None)
    assert (got - expected).abs().max() <= 1e-5
    assert (base - expected).abs().max() > 1e-3
    assert any("lora_" in name for name, _ in loaded.model.named_parameters()), "the model in hand keeps its adapters"


def test_model_settings_are_checked():
    with pytest.raises(ConfigError, match="neither was given; give exactly one"):
        ModelConfig()
    with pytest.raises(ConfigError, match="both was given"):
        ModelConfig(path="x", scratch=SCRATCH)
    with pytest.raises(ConfigError, match="heads must divide hidden"):
        LlamaScratch(hidden=10, heads=4)
    with pytest.raises(ConfigError, match="vocab is not given"):
        build_model(ModelConfig(scratch=LlamaScratch()))
    with pytest.raises(BackendError, match="no attention backend 'warp'"):
        build_model(ModelConfig(scratch=SCRATCH, attn_backend="warp"))


def test_saving_never_replaces_what_is_no_checkpoint(folder, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    model = load_causal_lm(folder).model
    assert "holds no checkpoint, and would be replaced" in sentence(lambda: save_pretrained(model, tmp_path / "home"))
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_a_failed_save_leaves_the_old_checkpoint(folder, monkeypatch):
    model = load_causal_lm(folder).model
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(model), "save_pretrained", full)
    assert "No space left on device" in sentence(lambda: save_pretrained(model, folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_broken_gguf_files(tmp_path, monkeypatch):
    monkeypatch.setenv("AR_CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "page.gguf").write_bytes(b"<html>")
    assert "is no GGUF file" in sentence(lambda: load_causal_lm(tmp_path / "page.gguf"))
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x00" * 40)
    assert "cannot be read" in sentence(lambda: load_causal_lm(tmp_path / "cut.gguf"))
    assert not [path for path in (tmp_path / "kept" / "gguf").iterdir() if path.is_dir()]


@pytest.mark.smollm2
def test_a_truncated_real_gguf_file(smollm2_gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("AR_CACHE_DIR", str(tmp_path / "kept"))
    shutil.copy(smollm2_gguf, tmp_path / "cut.gguf")
    os.truncate(tmp_path / "cut.gguf", 60_000_000)
    assert "is incomplete or of an architecture" in sentence(lambda: load_causal_lm(tmp_path / "cut.gguf"))


@pytest.mark.smollm2
def test_gguf_is_converted_once(smollm2_gguf, monkeypatch):
    first = load_causal_lm("smollm2-135m-instruct")
    assert first.revision == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert (first.model.dtype, first.model.config.model_type) == (torch.float32, "llama")
    assert not hasattr(first.model.config, "quantization_config")
    assert first.tokenizer.chat_template
    kept = cache_folder() / "gguf" / f"{first.revision}-1"
    assert (kept / "model.safetensors").is_file()
    monkeypatch.setattr("ar_core.hf.gguf._convert", lambda *_: pytest.fail("was converted again"))
    second = load_causal_lm(smollm2_gguf, dtype=torch.bfloat16)
    state = first.model.state_dict()
    assert all(torch.equal(value, state[key].bfloat16()) for key, value in second.model.state_dict().items())


def test_two_that_want_the_same_file_convert_it_once(tmp_path, monkeypatch):
    """Threads stand for processes here: the lock belongs to an open file, not to a process."""
    monkeypatch.setenv("AR_CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "model.gguf").write_bytes(b"GGUF rest")
    conversions = []

    def convert(path: Path, folder: Path, source: str) -> None:
        conversions.append(path)
        time.sleep(0.3)
        (folder / "config.json").write_text("{}")

    def use(_: int) -> bool:
        with converted_gguf(tmp_path / "model.gguf", "model.gguf") as (folder, _digest):
            return (folder / "config.json").is_file()

    monkeypatch.setattr("ar_core.hf.gguf._convert", convert)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(use, range(2))) == [True, True]
    assert len(conversions) == 1


def test_a_cache_folder_that_cannot_be_written_is_named_and_not_needed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AR_CACHE_DIR", str(tmp_path / "file"))
    (tmp_path / "model.gguf").write_bytes(b"GGUF rest")

    def convert(path: Path, folder: Path, source: str) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr("ar_core.hf.gguf._convert", convert)
    with (
        pytest.warns(UserWarning, match="cannot be written, so that the conversion of model.gguf is not kept"),
        converted_gguf(tmp_path / "model.gguf", "model.gguf") as (folder, _),
    ):
        assert (folder / "config.json").is_file()
    assert not folder.exists()


def test_a_tokenizer_that_cannot_read_a_text_is_refused(tmp_path):
    """Settings of the wrong type pass the loading and end the first encoding."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "?": 1}, unk_token="?")))
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path)("a").input_ids == [0]
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": "many"}))
    with pytest.raises(CheckpointError, match=r"The tokenizer of .* cannot be read \('>' not supported"):
        load_tokenizer(tmp_path)
