"""Checkpoints of every training method: converted, saved, and read by transformers alone, with identical logits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ar_core.data import find_task
from ar_core.hf import load_causal_lm, save_pretrained
from ar_core.hf.published import ENCODER_KEYS
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config, train
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

METHODS = {
    "autoregressive": ("autoregressive", []),
    "fast_dllm_v2": ("fast_dllm_v2", []),
    "efficient_dlm": ("efficient_dlm", []),
    "efficient_dlm untied": ("efficient_dlm", ["method.untie_embeddings=true"]),
    "efficient_dlm hybrid": ("efficient_dlm", ["method.clean=token", "method.ar_weight=1"]),
    "efficient_dlm new token": ("efficient_dlm", ["method.mask_token=<|fim_pad|>"]),
    "jacobi_forcing": ("jacobi_forcing", []),
}
BASES = ["llama", "qwen2", "qwen3", "published Fast-dLLM v2", "published Efficient-DLM"]
READ = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM
root, ids = Path(sys.argv[1]), torch.arange(3, 25).view(2, 11)
found = {}
for folder in sorted(root.iterdir()):
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), (folder, report)
    with torch.no_grad():
        found[folder.name] = (type(model).__name__, model(ids).logits)
assert not {"ar_core", "dlm_text"} & set(sys.modules)
torch.save(found, sys.argv[2])
"""


def write_base(name: str, folder: Path) -> None:
    """A tiny random model with the task's tokenizer, in the layout of a base model or of a published checkpoint."""
    tokenizer = find_task("mixed").tokenizer()
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2,
        "tie_word_embeddings": not name.startswith("published"),
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "llama":
            model = LlamaForCausalLM(LlamaConfig(**sizes))
        elif name in ("qwen2", "published Fast-dLLM v2"):
            model = Qwen2ForCausalLM(Qwen2Config(**sizes))
        else:
            model = Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=8))
    published = {
        "published Fast-dLLM v2": {"model_type": "Fast_dLLM_Qwen", "architectures": ["Fast_dLLM_QwenForCausalLM"]},
        "published Efficient-DLM": {"architectures": ["EfficientDLM"], "dlm_paradigm": "bidirectional"},
    }
    keys = ENCODER_KEYS if name == "published Efficient-DLM" else None
    save_pretrained(model, folder, tokenizer=tokenizer, extra_config=published.get(name), key_map=keys)


def trained(name: str, base: Path, saved: Path, cache: Path) -> torch.Tensor:
    """Two steps, a saved folder, and the logits of the model that is still in memory, under its own attention."""
    method, overrides = METHODS[name]
    settings = [
        f"model={{path: {base}}}", "train.steps=2", "train.warmup_steps=1", "train.batch_size=2", "train.eval_every=null",
        "train.device=cpu", "data.count=20", f"data.cache_dir={cache}", *overrides,
    ]  # fmt: skip
    run = read_run_config(recipe(method), "tiny", settings)
    job = build_job(recipe(method), run)
    train(job, run.train)
    assert job.save is not None
    job.save(saved)
    model = job.models["model"].eval()
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        return model(torch.arange(3, 25).view(2, 11)).logits


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[torch.Tensor, str, torch.Tensor]]:
    """By method and base: logits in memory, class and logits of a fresh interpreter that has transformers alone."""
    root = tmp_path_factory.mktemp("reload")
    expected = {}
    for base in BASES:
        write_base(base, root / base)
        for name in METHODS:
            key = f"{name} from {base}"
            expected[key] = trained(name, root / base, root / "saved" / key, root / "rows")
    subprocess.run([sys.executable, "-c", READ, str(root / "saved"), str(root / "read.pt")], check=True)
    read = torch.load(root / "read.pt", weights_only=True)
    assert read.keys() == expected.keys()
    return {key: (expected[key], *read[key]) for key in read}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", METHODS)
def test_transformers_alone_has_the_same_logits(both, name: str, base: str) -> None:
    expected, kind, logits = both[f"{name} from {base}"]
    family = {"published Fast-dLLM v2": "qwen2", "published Efficient-DLM": "qwen3"}.get(base, base)
    assert kind == f"{family.capitalize()}ForCausalLM"
    assert torch.equal(logits, expected)


def test_methods_change_what_they_start_from(both, tmp_path: Path) -> None:
    """So that equal logits are those of trained weights."""
    write_base("qwen3", tmp_path / "base")
    model = load_causal_lm(tmp_path / "base").model
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        base = model(torch.arange(3, 25).view(2, 11)).logits
    assert "lm_head.weight" not in load_file(tmp_path / "base" / "model.safetensors")
    for name in METHODS:
        assert not torch.allclose(both[f"{name} from qwen3"][0][..., : base.shape[-1]], base, atol=1e-3), name
    assert json.loads((tmp_path / "base" / "config.json").read_text())["tie_word_embeddings"]
