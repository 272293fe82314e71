"""Tiny random models and samples."""

from collections.abc import Callable

import pytest
import torch
from ar_core.data import Sample
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB = 50
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}


def _build(family: str, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "llama":
            return LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)).double().eval()
        if family == "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False)).double().eval()
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=False)).double().eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                # Fresh Qwen2 biases are zero, which hides errors in how they are used.
                torch.nn.init.normal_(parameter, std=0.3)
        return model


@pytest.fixture(params=["qwen2", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A tiny causal LM in float64; the last id of its vocabulary serves as mask token."""
    return _build(request.param, seed=0)


@pytest.fixture
def llama() -> PreTrainedModel:
    """The Llama one alone."""
    return _build("llama", seed=0)


@pytest.fixture
def qwen3() -> PreTrainedModel:
    """A Qwen3, whose queries and keys are normalised."""
    return _build("qwen3", seed=0)


@pytest.fixture
def mask_id() -> int:
    """Id of the mask token of `model`."""
    return VOCAB - 1


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """Builds sample `index` of documents of given lengths, a prompt unsupervised in each."""

    def make(index: int, *lengths: int, prompt: int = 2) -> Sample:
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(VOCAB - 1, (sum(lengths),), generator=generator)
        document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        inside: Tensor = torch.cat([torch.arange(length) for length in lengths])
        return {"index": index, "ids": ids, "labels": ids.where(inside >= prompt, -100), "document": document}

    return make
