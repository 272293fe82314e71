"""What loaders read, against what transformers writes; and folders with one fault each, told by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, UnsupportedModelError
from ar_core.serving import ENGINES, expected_tensors, verify_export
from safetensors.torch import load_file, save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
VISION = {"depth": 2, "hidden_size": 24, "intermediate_size": 40, "num_heads": 2, "out_hidden_size": 32}


def qwen2_5_vl(tied: bool) -> PreTrainedModel:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    config = Qwen2_5_VLConfig(
        text_config={**SIZES, "rope_parameters": rope, "tie_word_embeddings": tied},
        vision_config=VISION,
        tie_word_embeddings=tied,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


MODELS = {
    "llama": lambda tied: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=tied)),
    "llama, wide heads": lambda tied: LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=16, tie_word_embeddings=tied)),
    "qwen2": lambda tied: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=tied)),
    "qwen3": lambda tied: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=tied)),
    "qwen2_5_vl": qwen2_5_vl,
}


def write(model: PreTrainedModel, folder: Path) -> dict[str, Any]:
    """As transformers writes it, with files that only have to be there; returns the config."""
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "generation_config.json"):
        (folder / name).write_text("{}")
    fields: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return fields


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", MODELS)
def test_expected_tensors_are_those_that_transformers_writes(name: str, tied: bool, tmp_path: Path) -> None:
    config = write(MODELS[name](tied), tmp_path)
    held = {key: tuple(value.shape) for key, value in load_file(tmp_path / "model.safetensors").items()}
    family = name.split(",")[0]
    assert expected_tensors(family, config) == held  # type: ignore[arg-type]
    for engine in ENGINES:
        loader, count = verify_export(tmp_path, engine)
        assert (loader.family, loader.decodes, count) == (family, "tokens", len(held))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that both engines read."""
    folder = tmp_path_factory.mktemp("sound")
    write(MODELS["qwen3"](False), folder)
    return folder


TENSORS = {
    "missing": (
        lambda held: held.pop("model.layers.1.self_attn.k_norm.weight"),
        "it lacks model.layers.1.self_attn.k_norm.weight",
    ),
    "missing head": (lambda held: held.pop("lm_head.weight"), "it lacks lm_head.weight"),
    "unexpected": (
        lambda held: held.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(64)}),
        "it has model.layers.0.self_attn.q_proj.bias, which the loader does not know",
    ),
    "misshapen": (
        lambda held: held.update({"model.layers.1.mlp.up_proj.weight": torch.zeros(40, 32)}),
        r"model.layers.1.mlp.up_proj.weight \[40, 32\] instead of \[48, 32\]",
    ),
    "renamed": (
        lambda held: held.update({"encoder.norm.weight": held.pop("model.norm.weight")}),
        r"it lacks model.norm.weight; it has encoder.norm.weight, which",
    ),
}
FIELDS = {
    "model_type": ({"model_type": "qwen2"}, "config.json has model_type 'qwen2' in place of 'qwen3'"),
    "absent": ({"rms_norm_eps": None}, "config.json lacks rms_norm_eps"),
    "older rotary": ({"rope_parameters": None, "rope_theta": 1e6}, "config.json lacks rope_parameters.rope_theta"),
    "activation": ({"hidden_act": "gelu"}, "config.json has hidden_act='gelu', where only 'silu' is computed"),
    "bias": ({"attention_bias": True}, "config.json has attention_bias=True, where only False is computed"),
    "window": ({"use_sliding_window": True}, "use_sliding_window=True, where only False"),
    "no number": ({"head_dim": "16"}, "config.json has head_dim='16', which is no number of things"),
    "tie as text": ({"tie_word_embeddings": "false"}, "tie_word_embeddings='false', which is neither true nor false"),
    "no epsilon": ({"rms_norm_eps": "1e-6"}, "rms_norm_eps='1e-6', which is no positive number"),
    "no base": ({"rope_parameters": {"rope_theta": 0}}, "rope_theta=0, which is no positive number"),
    "no positions": ({"max_position_embeddings": -1}, "max_position_embeddings=-1, which is no number of things"),
    "quantized": ({"quantization_config": {"quant_method": "fp8"}}, "has quantization_config=.*, where only None"),
    "layers without end": ({"num_hidden_layers": 2**30}, "num_hidden_layers=1073741824, and there are only"),
    "tie": ({"tie_word_embeddings": True}, "it has lm_head.weight, which the loader does not know"),
    "vocabulary": ({"vocab_size": 41}, r"lm_head.weight \[40, 32\] instead of \[41, 32\]"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", TENSORS)
def test_a_wrong_tensor_is_told_by_name(sound: Path, tmp_path: Path, name: str, engine: str) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    change, message = TENSORS[name]
    held = load_file(folder / "model.safetensors")
    change(held)
    save_file(held, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message) as caught:
        verify_export(folder, engine)
    assert f"the loader of Qwen3ForCausalLM in {engine} {ENGINES[engine].version} reads" in str(caught.value)


@pytest.mark.parametrize("name", FIELDS)
def test_a_wrong_field_is_told_by_name(sound: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    changed, message = FIELDS[name]
    fields = {**json.loads((folder / "config.json").read_text()), **changed}
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=message):
        verify_export(folder, "vllm")


@pytest.mark.parametrize("name", ["qwen2", "qwen2_5_vl"])
def test_heads_of_qwen2_of_another_width_are_refused(name: str, tmp_path: Path) -> None:
    fields = write(MODELS[name](True), tmp_path)
    section = fields.get("text_config", fields)
    for width in (8, None):
        section["head_dim"] = width
        (tmp_path / "config.json").write_text(json.dumps(fields))
        verify_export(tmp_path, "sglang")
    section["head_dim"] = 16
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=r"head_dim=16, where only 8 is computed"):
        verify_export(tmp_path, "sglang")


def test_files_that_an_index_leaves_out_are_not_counted(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    held = load_file(folder / "model.safetensors")
    apart = {"model.norm.weight": held.pop("model.norm.weight")}
    save_file(held, folder / "model.safetensors")
    save_file(apart, folder / "other.safetensors")
    verify_export(folder, "vllm")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(held, "model.safetensors")}))
    with pytest.raises(CheckpointError, match=r"it lacks model.norm.weight; export"):
        verify_export(folder, "vllm")
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "../copy/other.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"is not beside it"):
        verify_export(folder, "vllm")


@pytest.mark.parametrize("names", [["EfficientDLM"], "Qwen3ForCausalLM", None, [], ["SDARForCausalLM"], [[]]])
def test_an_architecture_without_a_known_loader_is_refused(sound: Path, tmp_path: Path, names: Any) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    fields = {**json.loads((folder / "config.json").read_text()), "architectures": names}
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(
        UnsupportedModelError, match=r"in vllm 0.33.0 is known here: give a checkpoint of LlamaForCausalLM"
    ):
        verify_export(folder, "vllm")


def test_sdar_needs_a_row_for_its_mask_token_a_head_and_its_settings(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    fields = {**json.loads((folder / "config.json").read_text()), "architectures": ["SDARForCausalLM"]}
    fields["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError) as caught:
        verify_export(folder, "sglang")
    for fault in (
        "vocab_size=40, and token 151669 needs a row",
        "tie_word_embeddings=True, where only False",
        "it lacks the file low_confidence.yaml",
    ):
        assert fault in str(caught.value)
    for rows, needed in ((151669, True), (151670, False)):
        (folder / "config.json").write_text(json.dumps({**fields, "vocab_size": rows}))
        with pytest.raises(CheckpointError) as caught:
            verify_export(folder, "sglang")
        assert ("needs a row" in str(caught.value)) is needed
    for text in ("block_size: 0", "threshold: 1", "- 4", ": :", "block_size: true"):
        (folder / "low_confidence.yaml").write_text(text)
        with pytest.raises(CheckpointError, match=r"low_confidence.yaml has no block_size of at least 1"):
            verify_export(folder, "sglang")


def test_absent_files_and_folders_are_told(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"it lacks the file tokenizer.json"):
        verify_export(folder, "vllm")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no safetensors file"):
        verify_export(folder, "vllm")
    for text, message in (("[]", "holds no mapping"), ("{", "is no valid JSON")):
        (folder / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            verify_export(folder, "vllm")
    with pytest.raises(CheckpointError, match=r"config.json cannot be read"):
        verify_export(tmp_path / "nowhere", "vllm")
    with pytest.raises(ConfigError, match=r"there is no layout for the engine 'vlm'; did you mean 'vllm'\?"):
        verify_export(sound, "vlm")


def test_every_loader_says_where_it_was_read() -> None:
    for engine in ENGINES.values():
        assert len({known.name for known in engine.architectures}) == len(engine.architectures)
        for known in engine.architectures:
            assert known.file.endswith(".py")
            assert known.fields
