"""The head that losses get: one matrix where the model's head is that and nothing else."""

import pytest
import torch
from ar_core.hf import HFBackbone
from ar_core.linear_head import LinearHead
from torch import nn
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Qwen2Config(**SIZES), Qwen2ForCausalLM),
        (Qwen2Config(**SIZES, tie_word_embeddings=True), Qwen2ForCausalLM),
        (GraniteConfig(**SIZES, logits_scaling=8.0), GraniteForCausalLM),
        (CohereConfig(**SIZES, logit_scale=0.25), CohereForCausalLM),
    ],
    ids=["qwen2", "tied", "granite-divisor", "cohere-factor"],
)
def test_it_gives_the_logits_of_the_model(config, kind):
    backbone = HFBackbone(kind(config))
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    head = backbone.loss_head
    assert isinstance(head, LinearHead)
    assert head.weight is backbone.projection.weight
    torch.testing.assert_close(head(hidden), backbone.head(hidden))


def test_capped_logits():
    config = Gemma2Config(
        **SIZES, head_dim=8, final_logit_softcapping=5.0, attn_logit_softcapping=None, layer_types=["full_attention"]
    )
    backbone = HFBackbone(Gemma2ForCausalLM(config))
    hidden = 9 * torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert backbone.loss_head.cap == 5.0
    torch.testing.assert_close(backbone.loss_head(hidden), backbone.head(hidden))


class Adapted(nn.Linear):
    pass


@pytest.mark.parametrize("change", ["bias", "hook", "adapter"])
def test_a_head_that_does_more_is_called(change):
    model = Qwen2ForCausalLM(Qwen2Config(**SIZES))
    if change == "bias":
        model.lm_head = nn.Linear(32, 61)
    elif change == "adapter":
        model.lm_head = Adapted(32, 61, bias=False)
    else:
        model.lm_head.register_forward_hook(lambda module, given, output: output + 1)
    backbone = HFBackbone(model)
    assert backbone.loss_head == backbone.head
