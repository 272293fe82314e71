"""Published and plain checkpoint layouts: strict loading, lossless round trips."""

import json
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.masks import Mask, Tokens, block_causal
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint, save_checkpoint
from safetensors.torch import load_file, save_file
from tiny_families import FAMILIES, SIZES
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

MASK_TOKEN = "|<MASK>|"


def tokenizer(*, mask: bool = True) -> PreTrainedTokenizerFast:
    vocabulary = {chr(97 + i): i for i in range(26)} | {"<unk>": 26}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")), unk_token="<unk>"
    )
    if mask:
        fast.add_tokens([MASK_TOKEN], special_tokens=True)
    return fast


def published_folder(folder: Path, *, tie: bool) -> dict:
    """A folder as the published checkpoints are; returns its config."""
    torch.manual_seed(0)
    tensors = {k: v.clone() for k, v in FAMILIES["qwen2"](tie).state_dict().items() if not (tie and "lm_head" in k)}
    config = {
        **SIZES,
        "architectures": ["Fast_dLLM_QwenForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration.Fast_dLLM_QwenConfig",
            "AutoModel": "modeling.Fast_dLLM_QwenModel",
            "AutoModelForCausalLM": "modeling.Fast_dLLM_QwenForCausalLM",
        },
        "attention_dropout": 0.0,
        "bd_size": 16,
        "eos_token_id": 5,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_window_layers": 28,
        "model_type": "Fast_dLLM_Qwen",
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": tie,
        "torch_dtype": "float32",
        "use_cache": True,
        "use_sliding_window": False,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save_pretrained(folder)
    return config


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_published_round_trip_is_lossless(tmp_path: Path, tie: bool) -> None:
    """Keys, tensors and every published config field; code is named where it is published."""
    config = published_folder(tmp_path / "a", tie=tie)
    loaded = load_checkpoint(tmp_path / "a")
    assert (loaded.diffusion_block_size, loaded.sub_block_size, loaded.mask_id) == (16, 8, 27)
    assert loaded.model.config.rope_parameters["rope_theta"] == 1e6
    save_checkpoint(
        loaded.model,
        tmp_path / "b",
        diffusion_block_size=16,
        sub_block_size=8,
        mask_id=27,
        tokenizer=loaded.tokenizer,
        layout="published",
    )
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    saved = json.loads((tmp_path / "b" / "config.json").read_text())
    code = "Efficient-Large-Model/Fast_dLLM_v2_7B--"
    config["auto_map"] = {name: code + target for name, target in config["auto_map"].items()}
    assert {key: saved.get(key) for key in config} == config
    assert load_checkpoint(tmp_path / "b").mask_id == 27


def test_published_checkpoints_run_no_code_of_theirs(tmp_path: Path) -> None:
    published_folder(tmp_path / "a", tie=False)
    for name in ("configuration", "modeling"):
        (tmp_path / "a" / f"{name}.py").write_text("raise SystemExit('remote code was run')\n")
    assert isinstance(load_checkpoint(tmp_path / "a").model, Qwen2ForCausalLM)


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_plain_round_trip_is_lossless(tmp_path: Path, family: str, tie: bool) -> None:
    torch.manual_seed(1)
    model = FAMILIES[family](tie)
    base = dict(model.config.to_dict())
    save_checkpoint(model, tmp_path / "a", diffusion_block_size=8, sub_block_size=4, mask_id=27, tokenizer=tokenizer())
    loaded = load_checkpoint(tmp_path / "a")
    assert (loaded.diffusion_block_size, loaded.sub_block_size, loaded.mask_id) == (8, 4, 27)
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in loaded.model.state_dict().items())
    saved = json.loads((tmp_path / "a" / "config.json").read_text())
    ours = {"bd_size": 8, "small_block_size": 4, "mask_token_id": 27}
    assert {key: saved[key] for key in ours} == ours
    bookkeeping = {"architectures", "dtype", "transformers_version", "_name_or_path"}
    assert {k: v for k, v in saved.items() if k not in bookkeeping | ours.keys()} == {
        k: v for k, v in base.items() if k in saved and k not in bookkeeping
    }
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert type(plain) is type(model)


def test_published_to_plain_to_published(tmp_path: Path) -> None:
    published_folder(tmp_path / "a", tie=False)
    first = load_checkpoint(tmp_path / "a")
    common = {"diffusion_block_size": 16, "sub_block_size": 8, "mask_id": 27, "tokenizer": first.tokenizer}
    save_checkpoint(first.model, tmp_path / "b", **common)
    saved = json.loads((tmp_path / "b" / "config.json").read_text())
    assert (saved["model_type"], saved["architectures"]) == ("qwen2", ["Qwen2ForCausalLM"])
    assert "auto_map" not in saved
    second = load_checkpoint(tmp_path / "b")
    assert type(second.model) is Qwen2ForCausalLM
    save_checkpoint(second.model, tmp_path / "c", **common, layout="published")
    third = load_checkpoint(tmp_path / "c")
    assert all(torch.equal(v, third.model.state_dict()[k]) for k, v in first.model.state_dict().items())


def test_published_checkpoint_with_block_one_is_qwen2(tmp_path: Path) -> None:
    """Oracle 2: with D = 1 the block-causal forward is the plain causal one, same weights."""
    published_folder(tmp_path / "a", tie=False)
    model = load_checkpoint(tmp_path / "a").model
    plain = Qwen2ForCausalLM(Qwen2Config(**SIZES, rope_theta=1e6, tie_word_embeddings=False)).eval()
    plain.load_state_dict(load_file(tmp_path / "a" / "model.safetensors"), strict=True)
    ids = torch.randint(40, (3, 21), generator=torch.Generator().manual_seed(0))
    index = torch.arange(21)
    mask = Mask.self_attention(block_causal(), Tokens(block=index))
    backbone = HFBackbone(model)
    with torch.no_grad():
        ours = backbone.head(backbone.hidden(ids, positions=index.expand_as(ids), mask=mask))
        torch.testing.assert_close(ours, plain(ids).logits, rtol=0, atol=1e-6)


def test_adapters_are_merged(tmp_path: Path) -> None:
    import peft

    torch.manual_seed(2)
    model = FAMILIES["llama"](True)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    ids = torch.arange(9)[None]
    expected = wrapped.eval()(ids).logits
    save_checkpoint(
        wrapped, tmp_path / "a", diffusion_block_size=8, sub_block_size=8, mask_id=27, tokenizer=tokenizer()
    )
    assert any("lora_A" in name for name, _ in wrapped.named_parameters())
    torch.testing.assert_close(
        AutoModelForCausalLM.from_pretrained(tmp_path / "a")(ids).logits, expected, rtol=0, atol=1e-5
    )


def test_unconverted_checkpoints_are_refused(tmp_path: Path) -> None:
    FAMILIES["llama"](True).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no bd_size in its config.json, so it was never converted"):
        load_checkpoint(tmp_path)
    assert load_causal_lm(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bd_size": "8"}, "has bd_size '8', which must be an integer of at least 1: correct its config.json"),
        ({"bd_size": [8]}, "has bd_size .8., which must be an integer"),
        ({"small_block_size": "4"}, "has small_block_size '4', which must be an integer of at least 1"),
        ({"mask_token_id": [1]}, "has mask_token_id .1., which must be an integer of at least 0"),
    ],
    ids=str,
)
def test_fields_that_hold_no_number_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    published_folder(tmp_path / "a", tie=True)
    path = tmp_path / "a" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a")


def test_checkpoints_without_a_mask_token_are_refused(tmp_path: Path) -> None:
    published_folder(tmp_path / "a", tie=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "a" / file).unlink()
    tokenizer(mask=False).save_pretrained(tmp_path / "a")
    with pytest.raises(
        CheckpointError, match=r"names no mask token: neither mask_token_id .* nor \|<MASK>\| in its tok"
    ):
        load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    ("family", "mask", "message"),
    [
        ("llama", True, "published layout exists for Qwen2 models only and this one is 'llama'"),
        ("qwen2", False, r"needs a tokenizer in which \|<MASK>\| is the mask token, here id 27, but it has None"),
    ],
)
def test_what_the_published_layout_cannot_hold_is_refused(
    tmp_path: Path, family: str, mask: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        save_checkpoint(
            FAMILIES[family](False),
            tmp_path / "a",
            diffusion_block_size=8,
            sub_block_size=8,
            mask_id=27,
            tokenizer=tokenizer(mask=mask),
            layout="published",
        )
    assert not (tmp_path / "a").exists()
