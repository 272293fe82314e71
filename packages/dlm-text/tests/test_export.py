"""Tiny checkpoints of each method, exported for each engine and held against its loader; what no engine computes is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ar_core.data import find_task
from ar_core.decoding import StopRule
from ar_core.errors import CheckpointError, ConfigError, UnsupportedModelError
from ar_core.hf import HFBackbone, LoraConfig, add_lora, load_causal_lm, save_pretrained
from ar_core.serving import ENGINES, SDAR_MASK_ID, export_checkpoint, verify_export
from dlm_text.efficient_dlm.checkpoint import Conversion
from dlm_text.efficient_dlm.checkpoint import save_checkpoint as save_efficient
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig, generate
from dlm_text.fast_dllm_v2.checkpoint import save_checkpoint as save_fast
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TOKENIZER = find_task("mixed").tokenizer()
MASK = TOKENIZER.convert_tokens_to_ids("<mask>")
LARGE = 151_680
"""Rows enough for the mask token of SDAR."""
BLOCK = 4


def build(family: str, *, rows: int = len(TOKENIZER), tied: bool = True) -> PreTrainedModel:
    sizes: dict[str, Any] = {
        "vocab_size": rows, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 128, "initializer_range": 0.3, "tie_word_embeddings": tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=16)).eval()
        if family == "mistral":
            return MistralForCausalLM(MistralConfig(**sizes)).eval()
        return (
            LlamaForCausalLM(LlamaConfig(**sizes)) if family == "llama" else Qwen2ForCausalLM(Qwen2Config(**sizes))
        ).eval()


def save(method: str, family: str, folder: Path, **more: Any) -> PreTrainedModel:
    model = build(family, rows=more.pop("rows", len(TOKENIZER)), tied=more.pop("tied", True))
    with torch.no_grad():
        # Fresh heads are undecided, and no confidence would reach a threshold.
        model.get_output_embeddings().weight.mul_(5)
    layout = more.pop("layout", "plain")
    if method == "fast_dllm_v2":
        save_fast(
            model, folder, diffusion_block_size=8, sub_block_size=4, mask_id=MASK, tokenizer=TOKENIZER, layout=layout
        )
    elif method == "efficient_dlm":
        save_efficient(model, folder, Conversion(MASK, BLOCK, **more), tokenizer=TOKENIZER, layout=layout)
    else:
        save_pretrained(model, folder, tokenizer=TOKENIZER)
    return model


SERVED = {
    "plain": ("autoregressive", {}, {}),
    "Jacobi Forcing": ("autoregressive", {"tied": False}, {}),
    "Fast-dLLM v2 read as AR": ("fast_dllm_v2", {}, {"decoding": "autoregressive"}),
    "Efficient-DLM hybrid": ("efficient_dlm", {"clean": "token"}, {}),
    "Efficient-DLM, next tokens alone": ("efficient_dlm", {"attention_pattern": "autoregressive"}, {}),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("name", SERVED)
def test_what_is_served_one_token_at_a_time(name: str, family: str, engine: str, tmp_path: Path) -> None:
    method, more, settings = SERVED[name]
    model = save(method, family, tmp_path / "final", **more)
    told = export_checkpoint(engine, tmp_path / "final", tmp_path / "served", settings)
    loader, count = verify_export(tmp_path / "served", engine)
    assert loader.name == type(model).__name__
    assert f"{count} tensors as {loader.name} of {engine} {ENGINES[engine].version}" in told
    assert "not loaded by the engine here" in told
    assert str(tmp_path / "served") in told.splitlines()[1]
    exported, report = AutoModelForCausalLM.from_pretrained(tmp_path / "served", output_loading_info=True)
    assert not any(report.values())
    ids = torch.arange(3, 25).view(2, 11)
    with torch.no_grad():
        assert torch.equal(exported(ids).logits, model(ids).logits)
    fields = json.loads((tmp_path / "served" / "config.json").read_text())
    assert not {"bd_size", "mask_token_id", "dlm_paradigm", "training_paradigm", "block_size"} & fields.keys()


def sdar_decode(folder: Path, prompt: list[int], size: int, threshold: float, blocks: int) -> list[int]:
    """What the engine does with SDAR, written anew over transformers' own attention: blocks from position 0 on, each token
    sees its block and those before it, confidence above the threshold or the best one, the whole last block."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    ids = [*prompt]
    for _ in range(blocks):
        start = len(ids)
        ids += [SDAR_MASK_ID] * (size - start % size)
        block = torch.arange(len(ids)) // size
        hidden = (block[:, None] < block[None]).float() * torch.finfo(torch.float32).min
        while SDAR_MASK_ID in ids:
            with torch.no_grad():
                logits: Tensor = model(torch.tensor([ids]), attention_mask=hidden[None, None]).logits[0]
            confidence, best = logits.softmax(-1).max(-1)
            confidence = confidence.masked_fill(torch.tensor(ids) != SDAR_MASK_ID, -1)
            taken = confidence > threshold
            if not taken.any():
                taken[confidence.argmax()] = True
            ids = [int(best[place]) if taken[place] else old for place, old in enumerate(ids)]
    return ids[len(prompt) :]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("layout", ["plain", "published"])
def test_efficient_dlm_in_blocks_is_read_as_our_decoder_does(layout: str, tied: bool, tmp_path: Path) -> None:
    model = save("efficient_dlm", "qwen3", tmp_path / "final", rows=LARGE, tied=tied, layout=layout)
    told = export_checkpoint("sglang", tmp_path / "final", tmp_path / "served", {"threshold": 0.3})
    loader, _ = verify_export(tmp_path / "served", "sglang")
    assert (loader.name, loader.decodes) == ("SDARForCausalLM", "blocks")
    assert """--json-model-override-args '{"rope_theta": 500000.0}'""" in told
    settings = yaml.safe_load((tmp_path / "served" / "low_confidence.yaml").read_text())
    assert settings == {"block_size": BLOCK, "threshold": 0.3}
    assert f"--dllm-algorithm-config {tmp_path / 'served' / 'low_confidence.yaml'}" in told

    # The two rows trade places, in the embedding and in the head, and nothing else changes.
    held = load_file(tmp_path / "served" / "model.safetensors")
    for name, weight in (
        ("model.embed_tokens.weight", model.get_input_embeddings().weight),
        ("lm_head.weight", model.get_output_embeddings().weight),
    ):
        expected = weight.detach().clone()
        expected[[MASK, SDAR_MASK_ID]] = expected[[SDAR_MASK_ID, MASK]]
        assert torch.equal(held[name], expected)
        assert not torch.equal(weight[MASK], weight[SDAR_MASK_ID])

    prompt = [5, 9, 12, 7, 20, 31]
    backbone = HFBackbone(load_causal_lm(tmp_path / "final").model)
    options = EfficientDLMDecodeConfig(mask_id=MASK, diffusion_block_size=BLOCK, threshold=0.3, grid="absolute")
    stop = StopRule(stop_ids=frozenset(), max_new_tokens=2 + 4 * BLOCK)
    decoded = generate(backbone, [prompt], options, stop=stop)
    theirs = sdar_decode(tmp_path / "served", prompt, BLOCK, 0.3, blocks=5)
    assert decoded.tokens[0] == theirs
    assert 5 < decoded.stats.forwards["denoise"] < stop.max_new_tokens, "neither one pass a block nor one a token"
    # Blocks that begin elsewhere are another reading, so that equal tokens say something.
    assert generate(backbone, [prompt], replace(options, grid="prompt"), stop=stop).tokens[0] != theirs


REFUSED = {
    "Fast-dLLM v2": ("fast_dllm_v2", "qwen2", {}, "sglang", "no engine here decodes"),
    "blocks, vllm": ("efficient_dlm", "qwen3", {}, "vllm", "vllm has none that decodes blocks of a dense model"),
    "blocks, Llama": ("efficient_dlm", "llama", {}, "sglang", "model_type is 'llama' and it normalises"),
    "noisy context": ("efficient_dlm", "qwen3", {"attention_pattern": "block_noisy"}, "sglang", "is 'block_noisy' and"),
    "bidirectional": ("efficient_dlm", "qwen3", {"attention_pattern": "bidirectional"}, "sglang", "'bidirectional'"),
    "shifted": ("efficient_dlm", "qwen3", {"token_shift": True}, "sglang", "token_shift is true"),
    "small vocabulary": ("efficient_dlm", "qwen3", {}, "sglang", f"takes token {SDAR_MASK_ID} for the mask token"),
    "another family": ("autoregressive", "mistral", {}, "vllm", "of the kind 'mistral', and vllm 0.33.0 serves Llama"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_engine_computes_is_refused_and_what_is_served_is_named(name: str, tmp_path: Path) -> None:
    method, family, more, engine, message = REFUSED[name]
    save(method, family, tmp_path / "final", **more)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        export_checkpoint(engine, tmp_path / "final", tmp_path / "served")
    assert name == "small vocabulary" or f"{engine} {ENGINES[engine].version} serves LlamaForCausalLM" in str(
        caught.value
    )
    assert not (tmp_path / "served").exists()


def test_a_token_in_the_place_of_the_mask_token_is_refused(tmp_path: Path) -> None:
    save("efficient_dlm", "qwen3", tmp_path / "final", rows=LARGE)
    path = tmp_path / "final" / "tokenizer.json"
    told = json.loads(path.read_text())
    told["added_tokens"].append({**told["added_tokens"][-1], "id": SDAR_MASK_ID, "content": "<taken>"})
    told["model"]["vocab"]["<taken>"] = SDAR_MASK_ID
    path.write_text(json.dumps(told))
    with pytest.raises(UnsupportedModelError, match=rf"another token in place {SDAR_MASK_ID}"):
        export_checkpoint("sglang", tmp_path / "final", tmp_path / "served")


def test_adapters_are_merged(tmp_path: Path) -> None:
    model = add_lora(build("llama"), LoraConfig(rank=2), 0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    save_pretrained(model, tmp_path / "final", tokenizer=TOKENIZER)
    export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    held = load_file(tmp_path / "served" / "model.safetensors")
    assert not [name for name in held if "lora" in name]
    base = build("llama").state_dict()
    assert not torch.equal(held["model.layers.0.mlp.up_proj.weight"], base["model.layers.0.mlp.up_proj.weight"])


def test_what_the_loader_would_not_read_leaves_nothing_behind(tmp_path: Path) -> None:
    model = LlamaForCausalLM(LlamaConfig(**{**build("llama").config.to_dict(), "attention_bias": True}))
    save_pretrained(model, tmp_path / "final", tokenizer=TOKENIZER)
    with pytest.raises(
        CheckpointError, match=r"served is not what .*has attention_bias=True, where only False"
    ) as caught:
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    assert "it has model.layers.{0-1}.self_attn.k_proj.bias" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"mine is a folder that holds no checkpoint, and would be replaced"):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "mine")


def test_every_token_that_ends_a_text_is_where_engines_look(tmp_path: Path) -> None:
    model = build("llama")
    model.generation_config.eos_token_id = [11, 4]
    save_pretrained(model, tmp_path / "final", tokenizer=TOKENIZER)
    export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    ends = json.loads((tmp_path / "served" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == sorted({4, 11, TOKENIZER.eos_token_id})


@pytest.mark.parametrize("said", [{"eos_token_id": "a"}, {"eos_token_id": [1, [2]]}, {"temperature": 0.7}])
def test_a_generation_config_that_cannot_be_written_is_one_sentence(said: dict[str, Any], tmp_path: Path) -> None:
    save("autoregressive", "llama", tmp_path / "final")
    (tmp_path / "final" / "generation_config.json").write_text(json.dumps(said))
    with pytest.raises(
        CheckpointError, match=rf"generation_config.json cannot be used \(.*{next(iter(said))}.*mend it"
    ):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (-1, "has mask_token_id -1, which must be an integer of at least 0"),
        (LARGE, f"has mask token {LARGE}, but its embedding has rows 0 to {LARGE - 1}"),
    ],
)
def test_a_mask_token_without_a_row_is_refused(place: int, said: str, tmp_path: Path) -> None:
    save("efficient_dlm", "qwen3", tmp_path / "final", rows=LARGE)
    path = tmp_path / "final" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mask_token_id": place}))
    with pytest.raises(CheckpointError, match=said):
        export_checkpoint("sglang", tmp_path / "final", tmp_path / "served")


def test_architectures_of_another_type_are_claimed_by_nobody(tmp_path: Path) -> None:
    save("autoregressive", "llama", tmp_path / "final")
    path = tmp_path / "final" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": [[]]}))
    with pytest.raises(UnsupportedModelError, match=r"holds a model of the kind 'llama', and vllm"):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")


def test_the_chat_template_goes_with_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = find_task("mixed").tokenizer()
    tokenizer.chat_template = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    save_pretrained(build("llama"), tmp_path / "final", tokenizer=tokenizer)
    export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    written = [path for path in (tmp_path / "served").iterdir() if path.name.startswith(("chat", "tokenizer_config"))]
    assert any("turn['content']" in path.read_text() for path in written)


def test_settings_and_places_that_cannot_be_used(tmp_path: Path) -> None:
    save("autoregressive", "llama", tmp_path / "final")
    with pytest.raises(ConfigError, match=r"has no setting 'threshold', it has none"):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served", {"threshold": 0.9})
    for holder in (tmp_path / "final", tmp_path, tmp_path / "final" / ".." / "final"):
        with pytest.raises(ConfigError, match=r"is the source or holds it, and the checkpoint would be replaced"):
            export_checkpoint("vllm", tmp_path / "final", holder)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to("elsewhere")
    for name, kind in (("notes.txt", "a file"), ("link", "a link")):
        with pytest.raises(CheckpointError, match=f"is {kind}, and a folder is to be written there"):
            export_checkpoint("vllm", tmp_path / "final", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "link", "notes.txt"]
    with pytest.raises(CheckpointError, match=r"there is no folder"):
        export_checkpoint("vllm", tmp_path / "nowhere", tmp_path / "served")
    save("fast_dllm_v2", "llama", tmp_path / "fast")
    with pytest.raises(ConfigError, match=r"decoding is 'blocks', but must be autoregressive"):
        export_checkpoint("vllm", tmp_path / "fast", tmp_path / "served", {"decoding": "blocks"})
    save("efficient_dlm", "qwen3", tmp_path / "blocks")
    for threshold in (2, True, "0.9", float("nan")):
        with pytest.raises(ConfigError, match=rf"threshold is {threshold!r}, but a confidence lies in \[0, 1\]"):
            export_checkpoint("sglang", tmp_path / "blocks", tmp_path / "served", {"threshold": threshold})
    with pytest.raises(ConfigError, match=r"no setting 'treshold', it has threshold alone"):
        export_checkpoint("sglang", tmp_path / "blocks", tmp_path / "served", {"treshold": 1})
    (tmp_path / "final" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"the checkpoint has no tokenizer, which vllm reads"):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
