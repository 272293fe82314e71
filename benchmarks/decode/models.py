"""Models of given shapes with random weights, engines around them, and a twin for Hugging Face's own attention."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.hf import HFBackbone
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2Config

__all__ = ["Sizes", "always_says", "dtype_name", "random_model", "twin", "weight_bytes"]

WIDE_MARGIN = 1000.0
"""Far above any logit: the softmax of the winner is 1 in every dtype."""


@dataclass(frozen=True)
class Sizes:
    """Shapes of a Qwen2.5.

    Attributes:
        name: for tables.
        vocab: V.
        hidden: C.
        intermediate: of the MLP.
        layers: how many.
        heads: H.
        kv_heads: Hkv.
        tied: whether the head has the embedding's weights.
    """

    name: str
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool


def dtype_name(dtype: torch.dtype) -> str:
    """As people write it."""
    return str(dtype).removeprefix("torch.")


def random_model(sizes: Sizes, dtype: torch.dtype, device: str, *, seed: int = 0) -> Any:
    """A Qwen2 of these shapes in eval mode, its weights drawn on the device."""
    config = Qwen2Config(
        vocab_size=sizes.vocab,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        tie_word_embeddings=sizes.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        # Large enough for a single key that is wrongly seen or hidden to show in the logits, in bfloat16 too.
        initializer_range=sizes.hidden**-0.5,
    )
    # Initialisers draw from the global generators.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.device(device):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def twin(model: nn.Module) -> Any:
    """Another object on the same weights, under Hugging Face's attention of choice (sdpa)."""
    kept: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    other: Any = copy.deepcopy(model, kept)
    other.set_attn_implementation("sdpa")
    return other


def always_says(model: Any, token: int) -> None:
    """Give the head a bias by which one token wins everywhere with a probability of 1; its weights stay, and cost as before."""
    old = model.get_output_embeddings()
    head = nn.Linear(old.in_features, old.out_features, device="meta", dtype=old.weight.dtype)
    head.weight = old.weight
    bias = torch.zeros(old.out_features, dtype=old.weight.dtype, device=old.weight.device)
    bias[token] = WIDE_MARGIN
    head.bias = nn.Parameter(bias, requires_grad=False)
    model.set_output_embeddings(head)


def weight_bytes(backbone: HFBackbone) -> int:
    """What a pass reads of the weights at least: all but the embedding's rows that it does not look up."""
    model: Any = backbone.model
    read = {id(tensor): tensor.nbytes for tensor in model.parameters()}
    embedding = model.get_input_embeddings().weight
    if model.get_output_embeddings().weight is not embedding:
        del read[id(embedding)]
    return sum(read.values())
