"""Drafter checkpoints of every layout: strict, without remote code, with the attention and shift of their kind."""

import dataclasses
import json

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, UnsupportedModelError
from ar_core.hf import HFBackbone
from ar_core.io import save_tensors
from dlm_text.diffuspec.checkpoint import load_drafter
from dlm_text.diffuspec.llada import LLADA_KEYS
from dlm_text.efficient_dlm.checkpoint import Conversion, save_checkpoint
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from .conftest import MASK, V, tiny_qwen

DREAM = {
    "architectures": ["DreamModel"],
    "auto_map": {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"},
    "model_type": "Dream",
    "mask_token_id": MASK,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 1,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "use_sliding_window": False,
    "sliding_window": None,
}


@pytest.fixture
def dream(tmp_path):
    """A Qwen2 in the published layout of Dream: config fields of its own, no code."""
    model = tiny_qwen(5).float()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("rope_parameters", "layer_types"):
        config.pop(name, None)
    (tmp_path / "config.json").write_text(json.dumps({**config, **DREAM}))
    return tmp_path, model


LLADA = {
    "model_type": "llada",
    "architectures": ["LLaDAModelLM"],
    "block_type": "llama",
    "layer_norm_type": "rms",
    "activation_type": "silu",
    "d_model": 32,
    "n_heads": 4,
    "n_kv_heads": 4,
    "n_layers": 2,
    "mlp_hidden_size": 48,
    "mlp_ratio": 4,
    "max_sequence_length": 96,
    "vocab_size": V,
    "embedding_size": V,
    "rope": True,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "include_bias": False,
    "include_qkv_bias": False,
    "weight_tying": False,
    "alibi": False,
    "attention_layer_norm": False,
    "mask_token_id": MASK,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


@pytest.fixture
def llada(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=V,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=96,
                rms_norm_eps=1e-5,
                initializer_range=0.3,
            )
        ).eval()
    save_tensors(tmp_path / "model.safetensors", LLADA_KEYS.to_published(model.state_dict()), {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(LLADA))
    return tmp_path, model


def hidden(backbone, ids):
    with torch.no_grad():
        return backbone.hidden(torch.tensor([ids]), positions=torch.arange(len(ids))[None], mask=None)


@pytest.mark.parametrize(("kind", "shift"), [("dream", True), ("llada", False)])
def test_full_attention_layouts(kind, shift, request):
    folder, model = request.getfixturevalue(kind)
    found = load_drafter(str(folder))
    assert (found.layout.mask_id, found.layout.shift, found.layout.attention) == (MASK, shift, "bidirectional")
    ids = [3, 1, 4, 1, 5, MASK, MASK]
    assert torch.equal(hidden(found.backbone, ids), hidden(HFBackbone(model), ids))
    # All positions see all others: another mask token count changes the first one.
    assert not torch.allclose(hidden(found.backbone, ids)[:, 0], hidden(found.backbone, ids[:-1])[:, 0])
    assert found.tokenizer is None


def test_llada_settings_that_a_llama_lacks_are_named(llada):
    folder, _ = llada
    (folder / "config.json").write_text(json.dumps({**LLADA, "block_type": "sequential"}))
    with pytest.raises(UnsupportedModelError, match="block_type='sequential'"):
        load_drafter(str(folder))
    (folder / "config.json").write_text(json.dumps({k: v for k, v in LLADA.items() if k != "n_layers"}))
    with pytest.raises(CheckpointError, match="lacks 'n_layers'"):
        load_drafter(str(folder))
    (folder / "config.json").write_text(json.dumps({**LLADA, "n_layers": 3}))
    with pytest.raises(CheckpointError, match=r"layers\.2"):
        load_drafter(str(folder))


def converted(folder, **fields):
    tiny_qwen(7).float().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    return str(folder)


def test_block_causal_layouts(tmp_path):
    source = converted(tmp_path, bd_size=8, mask_token_id=MASK)
    fast = load_drafter(source).layout
    assert (fast.shift, fast.attention, fast.block_size) == (True, "block_causal", 8)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"attention": "block_causal", "block_size": 8, "clean": "block", "shift": False}),
        ({"token_shift": True}, {"attention": "block_causal", "shift": True}),
        ({"clean": "token"}, {"attention": "block_causal", "clean": "token", "shift": False}),
        ({"attention_pattern": "block_noisy"}, {"attention": "block_causal", "clean": "block"}),
        ({"attention_pattern": "bidirectional"}, {"attention": "bidirectional", "block_size": None, "shift": False}),
    ],
)
def test_an_efficient_dlm_drafter_reads_as_it_was_trained(tmp_path, settings, expected):
    conversion = Conversion.of_config(EfficientDLMConfig(diffusion_block_size=8, **settings), MASK)
    save_checkpoint(tiny_qwen(7).float(), tmp_path / "d", conversion)
    found = load_drafter(str(tmp_path / "d")).layout
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.mask_id == MASK
    assert load_drafter(str(tmp_path / "d"), "efficient_dlm").layout == found
    if found.block_size:
        assert load_drafter(str(tmp_path / "d"), block_size=4).layout == dataclasses.replace(found, block_size=4)
    else:
        with pytest.raises(ConfigError, match="'efficient_dlm, bidirectional' has no blocks"):
            load_drafter(str(tmp_path / "d"), block_size=4)


def test_a_published_efficient_dlm_is_told_by_its_config(tmp_path):
    config = Qwen3Config(vocab_size=V, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    save_checkpoint(Qwen3ForCausalLM(config), tmp_path / "d", Conversion(MASK, 8), layout="published")
    found = load_drafter(str(tmp_path / "d")).layout
    assert (found.attention, found.block_size, found.shift) == ("block_causal", 8, False)
    # Its class names it too, where there is no such field.
    file = tmp_path / "d" / "config.json"
    config = {name: value for name, value in json.loads(file.read_text()).items() if "paradigm" not in name}
    file.write_text(json.dumps(config))
    assert load_drafter(str(tmp_path / "d")).layout == found


def test_what_cannot_draft_is_refused(tmp_path):
    source = converted(tmp_path)
    with pytest.raises(ConfigError, match="give drafter_layout"):
        load_drafter(source)
    with pytest.raises(CheckpointError, match="no mask_token_id"):
        load_drafter(source, "dream")
    source = converted(tmp_path, mask_token_id=MASK)
    with pytest.raises(CheckpointError, match="no bd_size in its config"):
        load_drafter(source, "fast_dllm_v2")
    with pytest.raises(CheckpointError, match="never converted"):
        load_drafter(source, "efficient_dlm")
    with pytest.raises(ConfigError, match="never denoised anything"):
        load_drafter(converted(tmp_path, mask_token_id=MASK, dlm_paradigm="autoregressive"))
    source = converted(tmp_path, mask_token_id=MASK)
    with pytest.raises(ConfigError, match="has no blocks"):
        load_drafter(source, "dream", block_size=4)
