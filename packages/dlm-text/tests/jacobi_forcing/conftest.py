"""Tiny models, the recorded one among them, and random trajectories."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory
from safetensors.torch import load_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB = 40
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


@pytest.fixture(scope="session")
def build_tiny() -> Callable[[str], PreTrainedModel]:
    """Builds a tiny causal LM of a family, float64, eval mode; biases and norms are random too."""

    def build(family: str) -> PreTrainedModel:
        config, kind = FAMILIES[family]
        extra = {"head_dim": 8} if family == "qwen3" else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = kind(config(**SIZES, **extra)).double().eval()
            for name, parameter in model.named_parameters():
                if name.endswith("bias") or "_norm" in name:
                    torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)
        return model

    return build


@pytest.fixture
def model(build_tiny) -> PreTrainedModel:
    """The Qwen2 one, with biases."""
    return build_tiny("qwen2")


@pytest.fixture(scope="session")
def recorded_model(golden_dir: Path) -> PreTrainedModel:
    """The tiny Qwen2 that the recorded cases were made with."""
    settings = json.loads((golden_dir / "jacobi" / "config.json").read_text())
    model = Qwen2ForCausalLM(Qwen2Config(**settings))
    model.load_state_dict(load_file(golden_dir / "jacobi" / "tiny_qwen2.safetensors"), strict=True)
    return model.eval()


@pytest.fixture(scope="session")
def packing_cases(golden_dir: Path) -> dict:
    """The recorded packing cases."""
    return json.loads((golden_dir / "jacobi" / "packing.json").read_text())


@pytest.fixture
def make_trajectory() -> Callable[..., Trajectory]:
    """Builds a trajectory of random tokens: every state keeps more of the fixed point than the one before."""

    def make(seed: int, prompt: int = 5, blocks: int = 3, size: int = 4, low: int = 4) -> Trajectory:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randint(low, VOCAB, shape, generator=generator)

        clean = draw(blocks, size)
        states = []
        for block in clean:
            kept = torch.arange(size + 1)[:, None]
            noisy = draw(size + 1, size)
            # Never right by chance, so that the state's ratio is (n - kept) / n.
            noisy = torch.where(noisy == block, (noisy - low + 1) % (VOCAB - low) + low, noisy)
            states.append(torch.where(torch.arange(size) < kept, block, noisy))
        return Trajectory(draw(prompt), clean, tuple(states))

    return make
