"""Published and plain checkpoint layouts: strict loading, lossless round trips. Oracle numbers: the method's specification."""

import json
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, UnsupportedModelError
from ar_core.hf import HFBackbone, load_causal_lm, untie_embeddings
from ar_core.masks import Mask, Tokens, causal
from dlm_text.efficient_dlm.checkpoint import PARADIGMS, Conversion, load_checkpoint, save_checkpoint
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig
from safetensors.torch import load_file, save_file
from tiny_families import FAMILIES, SIZES
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Ministral3Config,
    Ministral3ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

PUBLISHED_CONFIG = {
    **SIZES,
    "adaptive_mask_rate": False,
    "architectures": ["EfficientDLM"],
    "attention_bias": False,
    "attn_implementation": "sdpa",
    "auto_map": {
        "AutoConfig": "configuration_edlm.EfficientDLMConfig",
        "AutoModel": "modeling_edlm.EfficientDLM",
    },
    "block_size": 32,
    "disable_qk_norm": False,
    "dlm_arch": "encoder",
    "dlm_paradigm": "bidirectional",
    "dlm_type": "llada",
    "head_dim": 8,
    "mask_token_id": 37,
    "model_type": "qwen3",
    "prefix_ratio": 0.8,
    "random_length_prob": 0,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "tok_mask_half_life_ratio": None,
    "torch_dtype": "bfloat16",
    "use_cache": False,
}
"""config.json of the published 4B (files of the hub), at tiny size."""

TRAINED = Conversion(37, 64, half_life_ratio=0.1)


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as published, written out rather than mapped by the code under test."""
    return {
        ("diffusion_head.weight" if k == "lm_head.weight" else "encoder." + k.removeprefix("model.")): v.clone()
        for k, v in tensors.items()
    }


def published_folder(folder: Path, **changed) -> dict[str, Tensor]:
    """A folder as the published checkpoints are; returns its tensors."""
    torch.manual_seed(0)
    tensors = renamed({k: v.bfloat16() for k, v in FAMILIES["qwen3"](False).state_dict().items()})
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**PUBLISHED_CONFIG, **changed}))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return tensors


def saved_config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_published_round_trip_is_lossless(tmp_path: Path) -> None:
    """Oracle 16: keys, tensors, dtype and every published config field; code is named where it is published."""
    tensors = published_folder(tmp_path / "a")
    loaded = load_checkpoint(tmp_path / "a")
    assert isinstance(loaded.model, Qwen3ForCausalLM)
    assert loaded.conversion == Conversion(37, 32)
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.config.rope_parameters["rope_theta"] == 1e6
    save_checkpoint(loaded.model, tmp_path / "b", loaded.conversion, layout="published")
    after = load_file(tmp_path / "b" / "model.safetensors")
    assert after.keys() == tensors.keys()
    assert all(torch.equal(after[key], tensors[key]) for key in tensors)
    saved = saved_config(tmp_path / "b")
    expected = dict(PUBLISHED_CONFIG)
    expected["auto_map"] = {k: f"nvidia/Efficient-DLM-4B--{v}" for k, v in expected["auto_map"].items()}
    assert {key: saved.get(key) for key in expected} == expected
    assert load_checkpoint(tmp_path / "b").conversion == loaded.conversion


def test_published_to_plain_to_published(tmp_path: Path) -> None:
    """The plain folder is an ordinary Qwen3 for transformers, with identical logits."""
    tensors = published_folder(tmp_path / "a")
    first = load_checkpoint(tmp_path / "a")
    save_checkpoint(first.model, tmp_path / "b", first.conversion)
    assert saved_config(tmp_path / "b")["architectures"] == ["Qwen3ForCausalLM"]
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    assert type(plain) is Qwen3ForCausalLM
    assert plain.state_dict().keys() == first.model.state_dict().keys()
    assert all(torch.equal(value, first.model.state_dict()[key]) for key, value in plain.state_dict().items())
    second = load_checkpoint(tmp_path / "b")
    assert second.conversion == first.conversion
    save_checkpoint(second.model, tmp_path / "c", second.conversion, layout="published")
    after = load_file(tmp_path / "c" / "model.safetensors")
    assert after.keys() == tensors.keys()
    assert all(torch.equal(after[key], tensors[key]) for key in tensors)


def test_generic_loaders_would_take_it_for_an_untrained_qwen3(tmp_path: Path) -> None:
    """Why the architecture decides: the model type alone loads silently, without a single weight."""
    published_folder(tmp_path / "a")
    _, report = AutoModelForCausalLM.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert len(report["missing_keys"]) == 25


@pytest.mark.parametrize("mode", ["plain", "published"])
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_both_layouts_keep_how_the_model_was_trained(tmp_path: Path, mode: str, paradigm: str) -> None:
    pattern, clean = PARADIGMS[paradigm]
    conversion = Conversion(39, 16, pattern, clean, token_shift=True, half_life_ratio=0.25)
    save_checkpoint(FAMILIES["qwen3"](False), tmp_path / "a", conversion, layout=mode)
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.conversion == conversion
    saved = saved_config(tmp_path / "a")
    # The published code decodes in the mode that stands here.
    assert saved["dlm_paradigm"] == (paradigm if mode == "plain" else "bidirectional")


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_plain_round_trip_is_lossless(tmp_path: Path, family: str, tie: bool) -> None:
    torch.manual_seed(1)
    model = FAMILIES[family](tie).eval()
    save_checkpoint(model, tmp_path / "a", TRAINED)
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.conversion == TRAINED
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    ids = torch.arange(9)[None]
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert type(plain) is type(model)
    assert torch.equal(plain(ids).logits, model(ids).logits)


def test_tied_heads_are_published_as_a_copy(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = FAMILIES["qwen3"](True)
    save_checkpoint(model, tmp_path / "a", TRAINED, layout="published")
    tensors = load_file(tmp_path / "a" / "model.safetensors")
    assert torch.equal(tensors["diffusion_head.weight"], tensors["encoder.embed_tokens.weight"])
    loaded = load_checkpoint(tmp_path / "a").model
    assert loaded.lm_head.weight is not loaded.model.embed_tokens.weight
    ids = torch.arange(9)[None]
    loaded.set_attn_implementation("sdpa")
    torch.testing.assert_close(loaded(ids).logits, model.eval()(ids).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", ["plain", "published"])
def test_untied_heads_are_trained_and_saved_apart(tmp_path: Path, layout: str) -> None:
    torch.manual_seed(1)
    model = FAMILIES["qwen3"](True).eval()
    before = model(torch.arange(9)[None]).logits
    assert untie_embeddings(model)
    assert not untie_embeddings(model)
    assert torch.equal(model(torch.arange(9)[None]).logits, before)
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    assert not torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
    save_checkpoint(model, tmp_path / "a", TRAINED, layout=layout)
    state = load_checkpoint(tmp_path / "a").model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    # Engines that believe the config alone would tie them again.
    assert saved_config(tmp_path / "a")["tie_word_embeddings"] is False


def test_nothing_ties_an_untied_head_again() -> None:
    """Neither what transformers derives from the config nor what it has kept of it."""
    for tie in ({}, {"recompute_mapping": False}):
        model = FAMILIES["qwen3"](True)
        untie_embeddings(model)
        model.tie_weights(**tie)
        assert model.lm_head.weight is not model.model.embed_tokens.weight
        model.resize_token_embeddings(44, mean_resizing=False)
        assert model.lm_head.weight is not model.model.embed_tokens.weight


def test_the_base_in_autoregressive_mode_is_qwen3(tmp_path: Path) -> None:
    """Oracle 16: unconverted weights under the published names, read causally, have Qwen3's logits."""
    published_folder(tmp_path / "a", torch_dtype="float32")
    model = load_checkpoint(tmp_path / "a", dtype=torch.float32).model
    plain = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, rope_theta=1e6, tie_word_embeddings=False)).eval()
    published = load_file(tmp_path / "a" / "model.safetensors")
    state = {
        ("lm_head.weight" if k == "diffusion_head.weight" else k.replace("encoder.", "model.", 1)): v.float()
        for k, v in published.items()
    }
    plain.load_state_dict(state, strict=True)
    ids, index = torch.randint(40, (3, 21), generator=torch.Generator().manual_seed(0)), torch.arange(21)
    backbone, mask = HFBackbone(model), Mask.self_attention(causal(), Tokens(position=index))
    with torch.no_grad():
        ours = backbone.head(backbone.hidden(ids, positions=index.expand_as(ids), mask=mask))
        torch.testing.assert_close(ours, plain(ids).logits, rtol=0, atol=1e-6)


def test_published_checkpoints_run_no_code_of_theirs(tmp_path: Path) -> None:
    published_folder(tmp_path / "a")
    for name in ("configuration_edlm", "modeling_edlm"):
        (tmp_path / "a" / f"{name}.py").write_text("raise SystemExit('remote code was run')\n")
    assert load_checkpoint(tmp_path / "a").model is not None


def test_the_names_of_nemotron_labs_diffusion(tmp_path: Path) -> None:
    """The same names over a Ministral3 backbone with YaRN and query scaling: strict, and the same logits."""
    torch.manual_seed(0)
    config = Ministral3Config(**SIZES, head_dim=8)
    config.rope_parameters |= {"original_max_position_embeddings": 8, "max_position_embeddings": 64, "factor": 8.0}
    reference = Ministral3ForCausalLM(config).eval()
    (tmp_path / "a").mkdir()
    ours = {"architectures": ["SomeDiffusionModel"], "dlm_paradigm": "sbd_block_diff", "mask_token_id": 38, "block_size": 8,
            "ar_loss_weight": 1.0, "dlm_loss_weight": 0.3}  # fmt: skip
    (tmp_path / "a" / "config.json").write_text(json.dumps({**reference.config.to_dict(), **ours}))
    save_file(renamed(reference.state_dict()), tmp_path / "a" / "model.safetensors", metadata={"format": "pt"})
    loaded = load_checkpoint(tmp_path / "a")
    assert (loaded.conversion.mask_id, loaded.conversion.clean) == (38, "token")
    ids, index = torch.randint(40, (2, 30), generator=torch.Generator().manual_seed(0)), torch.arange(30)
    backbone, mask = HFBackbone(loaded.model), Mask.self_attention(causal(), Tokens(position=index))
    with torch.no_grad():
        got = backbone.head(backbone.hidden(ids, positions=index.expand_as(ids), mask=mask))
        torch.testing.assert_close(got, reference(ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("said", "clean"),
    [({"ar_loss_weight": 1.0, "dlm_loss_weight": 0.3}, "token"), ({"ar_loss_weight": 0.0}, "block"), ({}, "block")],
    ids=str,
)
def test_the_mode_of_inference_is_not_how_a_model_was_trained(tmp_path: Path, said: dict, clean: str) -> None:
    """`bidirectional` in a published file, whatever its family: trained in blocks, and a hybrid if it had an AR loss."""
    published_folder(tmp_path / "a", architectures=["SomeDiffusionModel"], **said)
    loaded = load_checkpoint(tmp_path / "a")
    assert (loaded.conversion.attention_pattern, loaded.conversion.clean) == ("block_clean", clean)
    save_checkpoint(loaded.model, tmp_path / "b", loaded.conversion)
    assert load_checkpoint(tmp_path / "b").conversion == loaded.conversion


@pytest.mark.parametrize("layout", ["plain", "published"])
@pytest.mark.parametrize("first", ["plain", "published"])
def test_a_model_that_is_trained_on_says_how_last(tmp_path: Path, first: str, layout: str) -> None:
    """What the file it began from says of its training does not outlive it."""
    save_checkpoint(FAMILIES["qwen3"](False), tmp_path / "a", TRAINED, layout=first)
    hybrid = Conversion(37, 16, clean="token", half_life_ratio=0.25)
    save_checkpoint(load_checkpoint(tmp_path / "a").model, tmp_path / "b", hybrid, layout=layout)
    assert load_checkpoint(tmp_path / "b").conversion == hybrid


def test_stop_ids_of_published_folders_are_read(tmp_path: Path) -> None:
    """They stand in generation_config.json, often more than one."""
    published_folder(tmp_path / "a", eos_token_id=3)
    (tmp_path / "a" / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 5], "pad_token_id": 6}))
    first = load_checkpoint(tmp_path / "a")
    save_checkpoint(first.model, tmp_path / "b", first.conversion)
    save_checkpoint(first.model, tmp_path / "c", first.conversion, layout="published")
    models = [first.model, *(load_checkpoint(tmp_path / name).model for name in "bc")]
    for model in [*models, AutoModelForCausalLM.from_pretrained(tmp_path / "b")]:
        assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == ([3, 5], 6)
    (tmp_path / "a" / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "a")


def test_published_shards_are_read_as_one(tmp_path: Path) -> None:
    """The published checkpoints come in several files."""
    tensors = published_folder(tmp_path / "a")
    names = sorted(tensors)
    files = {name: f"model-{1 + i % 2:05d}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        held = {name: tensors[name] for name in names if files[name] == file}
        save_file(held, tmp_path / "a" / file, metadata={"format": "pt"})
    (tmp_path / "a" / "model.safetensors").unlink()
    (tmp_path / "a" / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    state = load_checkpoint(tmp_path / "a").model.state_dict()
    assert state.keys() == FAMILIES["qwen3"](False).state_dict().keys()
    assert all(torch.equal(value, tensors[name]) for name, value in renamed(state).items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("encoder.norm.weight"), "it lacks model.norm.weight"),
        (lambda t: t.update({"encoder.rotary": torch.ones(2)}), "it has model.rotary, which the model does not know"),
        (lambda t: t.update({"lm_head.weight": torch.ones(40, 32)}), "'lm_head.weight' are not of the expected layout"),
        (lambda t: t.update({"diffusion_head.weight": torch.ones(3, 32)}), "its shapes differ: lm_head.weight"),
    ],
    ids=["missing", "unexpected", "mixed", "misshapen"],
)
def test_published_checkpoints_load_strictly(tmp_path: Path, change, message: str) -> None:
    tensors = published_folder(tmp_path / "a")
    change(tensors)
    save_file(tensors, tmp_path / "a" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(("field", "value"), [("disable_qk_norm", True), ("dlm_arch", "decoder")])
def test_other_networks_under_the_name_are_refused(tmp_path: Path, field: str, value: object) -> None:
    published_folder(tmp_path / "a", **{field: value})
    with pytest.raises(UnsupportedModelError, match=f"has {field}={value!r}, which the model type 'qwen3' does not"):
        load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"dlm_paradigm": "prefix_bidirectional"},
            "has dlm_paradigm 'prefix_bidirectional', which is not supported: it",
        ),
        ({"mask_token_id": None}, "names no mask token: add mask_token_id to its config.json"),
        ({"block_size": 0}, "has block_size 0, which must be an integer of at least 1"),
        ({"block_size": True}, "has block_size True, which must be an integer"),
        (
            {"mask_token_id": "x"},
            "has mask_token_id 'x', which must be an integer of at least 0: correct its config.json",
        ),
        ({"dlm_type": "zzz"}, "has dlm_type 'zzz', which is not supported: it must be one of llada, dream"),
        ({"training_paradigm": ["block_diff"]}, "has dlm_paradigm .'block_diff'., which is not supported"),
    ],
)
def test_configs_that_say_too_little_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    published_folder(tmp_path / "a", **changed)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a")


def test_unconverted_checkpoints_are_refused(tmp_path: Path) -> None:
    FAMILIES["llama"](True).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no dlm_paradigm in its config.json, so it was never converted"):
        load_checkpoint(tmp_path)
    assert load_causal_lm(tmp_path)


def test_the_published_layout_is_for_qwen3(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="published layout exists for Qwen3 models only and this one is 'llama'"):
        save_checkpoint(FAMILIES["llama"](False), tmp_path / "a", TRAINED, layout="published")
    assert not (tmp_path / "a").exists()


def test_hub_ids_are_fetched_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Auto classes read hub files by themselves, but not under these names."""
    tensors = published_folder(tmp_path / "a")
    asked = []

    def snapshot(hub_id, allow_patterns):
        asked.append((hub_id, tuple(allow_patterns)))
        return str(tmp_path / "a")

    monkeypatch.setattr("ar_core.hf.load.snapshot_download", snapshot)
    monkeypatch.setattr("ar_core.hf.load.locate", lambda source: source)
    config = load_causal_lm(tmp_path / "a").model.config
    monkeypatch.setattr("ar_core.hf.load._config", lambda where, source: config)
    monkeypatch.setattr("ar_core.hf.load.load_tokenizer", lambda where: None)
    model = load_causal_lm("nvidia/Efficient-DLM-4B").model
    assert asked == [("nvidia/Efficient-DLM-4B", ("*.json", "*.safetensors"))]
    assert torch.equal(model.lm_head.weight, tensors["diffusion_head.weight"])


def test_adapters_are_merged_into_the_published_layout(tmp_path: Path) -> None:
    import peft

    torch.manual_seed(2)
    model = FAMILIES["qwen3"](False)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    ids = torch.arange(9)[None]
    expected = wrapped.eval()(ids).logits
    save_checkpoint(wrapped, tmp_path / "a", TRAINED, layout="published")
    loaded = load_checkpoint(tmp_path / "a").model
    loaded.set_attn_implementation("sdpa")
    torch.testing.assert_close(loaded(ids).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"context": "block_causal", "token_shift": False, "first_token": "denoise"}),
        ({"clean": "token"}, {"context": "causal"}),
        ({"attention_pattern": "bidirectional"}, {"context": "whole"}),
        ({"attention_pattern": "bidirectional", "token_shift": True}, {"context": "whole", "token_shift": True}),
        ({"attention_pattern": "block_noisy"}, {"context": "block_causal"}),
        ({"token_shift": True}, {"token_shift": True, "first_token": "commit"}),
        (
            {"attention_pattern": "autoregressive", "diffusion_weight": 0.0, "ar_weight": 1.0},
            {"context": "causal", "mode": "autoregressive"},
        ),
    ],
    ids=str,
)
def test_a_checkpoint_says_how_it_is_decoded(tmp_path: Path, options: dict, expected: dict) -> None:
    conversion = Conversion.of_config(EfficientDLMConfig(diffusion_block_size=16, **options), 37)
    save_checkpoint(FAMILIES["llama"](True), tmp_path / "a", conversion)
    found = EfficientDLMDecodeConfig.of_checkpoint(load_causal_lm(tmp_path / "a").model.config, None)
    assert found == {
        "mask_id": 37,
        "diffusion_block_size": 16,
        **{"context": "block_causal", "token_shift": False, "first_token": "denoise"},
        **expected,
    }
    assert EfficientDLMDecodeConfig(**found)


def test_published_checkpoints_are_decoded_as_they_were_trained(tmp_path: Path) -> None:
    """Their dlm_paradigm "bidirectional" is a mode of inference; parity with it is context="bidirectional"."""
    published_folder(tmp_path / "a")
    found = EfficientDLMDecodeConfig.of_checkpoint(load_causal_lm(tmp_path / "a").model.config, None)
    assert (found["mask_id"], found["diffusion_block_size"], found["context"]) == (37, 32, "block_causal")
