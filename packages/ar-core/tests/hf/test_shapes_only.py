"""Models for their shapes alone: nothing allocated, nothing read but configs and tokenizers."""

import pytest
import torch
from ar_core.hf import LlamaScratch, LoraConfig, ModelConfig, build_model
from ar_core.shapes_only import only_shapes, shapes_only


def test_a_fresh_model_has_the_same_shapes_and_no_memory():
    config = ModelConfig(
        scratch=LlamaScratch(hidden=64, layers=2, heads=2, kv_heads=1, intermediate=96, vocab=70), dtype="bfloat16"
    )
    whole = build_model(config).model
    with shapes_only():
        assert only_shapes()
        shaped = build_model(config).model
    assert not only_shapes()
    assert all(parameter.is_meta for parameter in shaped.parameters())
    forms = [{name: (one.shape, one.dtype) for name, one in model.named_parameters()} for model in (whole, shaped)]
    assert forms[0] == forms[1]


def test_a_folder_needs_no_weights(tmp_path):
    scratch = LlamaScratch(hidden=128, layers=1, heads=2, kv_heads=2, intermediate=128, vocab=70)
    build_model(ModelConfig(scratch=scratch)).model.config.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    pytest.importorskip("torchao")
    config = ModelConfig(path=str(tmp_path), dtype="bfloat16", lora=LoraConfig(rank=2), quantization="nf4")
    with shapes_only():
        model = build_model(config).model
    trained = [one for one in model.parameters() if one.requires_grad]
    assert trained
    assert all(one.is_meta and one.dtype == torch.float32 for one in trained)
    assert model.get_base_model().lm_head.weight.dtype == torch.bfloat16
