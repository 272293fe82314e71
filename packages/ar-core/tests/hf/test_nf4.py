"""Frozen weights of 4 bits under adapters: what is stored, what trains, what is saved."""

import copy

import pytest
import torch
from ar_core.errors import ConfigError, UnsupportedModelError
from ar_core.hf import LlamaScratch, LoraConfig, ModelConfig, build_model, save_pretrained
from ar_core.hf.nf4 import dequantize_nf4, quantize_nf4
from torch import nn

pytest.importorskip("torchao")
pytest.importorskip("peft")
SCRATCH = LlamaScratch(hidden=128, layers=1, heads=2, kv_heads=2, intermediate=128, vocab=50, context=32, tie=False)
IDS = torch.arange(12).view(1, 12)


LORA = LoraConfig(rank=2, alpha=4)


def _built(quantization):
    return build_model(ModelConfig(scratch=SCRATCH, lora=LORA, quantization=quantization), seed=1).model


def test_weights_are_stored_in_4_bits_and_are_near_what_they_were():
    whole, stored = (_built(one) for one in (None, "nf4"))
    before = whole.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    after = stored.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    held = sum(getattr(after, name).nbytes for name in after.__tensor_flatten__()[0])
    assert held < 0.54 * before.numel()
    assert not after.requires_grad
    # Values of a normal distribution in 16 levels that are as likely: a root mean square of some hundredths to a tenth.
    error = (after.get_original_weight() - before).norm() / before.norm()
    assert 0.03 < error < 0.15
    # Embeddings and head stay as they were.
    assert torch.equal(whole.get_base_model().lm_head.weight, stored.get_base_model().lm_head.weight)


def test_adapters_alone_get_gradients_and_move_the_loss():
    model = _built("nf4")
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=0.02)
    losses = []
    for _ in range(8):
        losses.append(nn.functional.cross_entropy(model(IDS).logits[0, :-1], IDS[0, 1:]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_a_saved_model_is_the_merged_one_in_plain_weights(tmp_path):
    model = _built("nf4").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(2))
    save_pretrained(model, tmp_path / "saved")
    again = build_model(ModelConfig(path=str(tmp_path / "saved"))).model.eval()
    assert not any(hasattr(one, "get_original_weight") for one in again.parameters())
    with torch.no_grad():
        torch.testing.assert_close(again(IDS).logits, model(IDS).logits, atol=1e-4, rtol=1e-4)
    # The model that trains on is untouched.
    assert any(hasattr(one, "get_original_weight") for one in model.parameters())


def test_plain_weights_are_those_that_products_were_computed_with():
    model = build_model(ModelConfig(scratch=SCRATCH), seed=1).model.eval()
    quantize_nf4(model)
    plain = copy.deepcopy(model)
    dequantize_nf4(plain)
    with torch.no_grad():
        torch.testing.assert_close(plain(IDS).logits, model(IDS).logits)


def test_refusals_say_what_to_do():
    with pytest.raises(ConfigError, match="quantization is 'nf4' and lora is null"):
        ModelConfig(scratch=SCRATCH, quantization="nf4")
    small = LlamaScratch(hidden=16, layers=1, heads=2, kv_heads=2, intermediate=16, vocab=50)
    with pytest.raises(UnsupportedModelError, match="no linear layer besides its head"):
        quantize_nf4(build_model(ModelConfig(scratch=small)).model)
