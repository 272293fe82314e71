"""A cut model is the beginning of the whole one, on its tensors, and a model like any other."""

import pytest
import torch
from ar_core.errors import ConfigError, UnsupportedModelError
from ar_core.hf import LlamaScratch, ModelConfig, build_model, first_layers, load_causal_lm, save_pretrained
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

SCRATCH = LlamaScratch(hidden=24, layers=3, heads=4, kv_heads=2, intermediate=40, vocab=50, context=64)
IDS = torch.tensor([[3, 1, 4, 1, 5]])


@pytest.fixture
def whole():
    return build_model(ModelConfig(scratch=SCRATCH), seed=1).model.eval()


@torch.no_grad()
def logits(model):
    model.set_attn_implementation("eager")
    return model(input_ids=IDS, use_cache=False).logits


@torch.no_grad()
def test_it_computes_norm_and_head_of_what_the_last_kept_layer_gives(whole):
    small = first_layers(whole, 2)
    whole.set_attn_implementation("eager")
    hidden = whole.model(input_ids=IDS, output_hidden_states=True, use_cache=False).hidden_states[2]
    expected = whole.lm_head(whole.model.norm(hidden))
    assert torch.equal(logits(small), expected)
    assert (small.config.num_hidden_layers, len(small.model.layers)) == (2, 2)
    # The whole model is as it was.
    assert (whole.config.num_hidden_layers, len(whole.model.layers)) == (3, 3)


def test_it_holds_the_same_tensors_and_all_layers_are_the_model_itself(whole):
    small = first_layers(whole, 3)
    for (name, mine), (_, theirs) in zip(small.named_parameters(), whole.named_parameters(), strict=True):
        assert mine is theirs, name
    assert small.lm_head.weight is small.model.embed_tokens.weight
    assert torch.equal(logits(small), logits(whole))


def test_a_cut_checkpoint_is_saved_and_read_by_plain_transformers(whole, tmp_path):
    save_pretrained(whole, tmp_path / "whole")
    cut = build_model(ModelConfig(path=str(tmp_path / "whole"), layers=1)).model
    assert cut.training
    save_pretrained(cut, tmp_path / "cut")
    expected = logits(first_layers(whole, 1))
    for model in (load_causal_lm(tmp_path / "cut").model, AutoModelForCausalLM.from_pretrained(tmp_path / "cut")):
        assert torch.equal(logits(model), expected)


def test_lists_of_the_config_with_an_entry_a_layer_are_cut_too():
    config = Qwen3Config(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, head_dim=8,
        num_key_value_heads=1, layer_types=["sliding_attention", "full_attention", "full_attention"],
        use_sliding_window=True, sliding_window=4, eos_token_id=[1, 2, 3],
    )  # fmt: skip
    small = first_layers(Qwen3ForCausalLM(config), 2)
    assert small.config.layer_types == ["sliding_attention", "full_attention"]
    assert small.config.eos_token_id == [1, 2, 3]
    small.config.validate()


@pytest.mark.parametrize("layers", [0, 4])
def test_a_number_of_layers_that_it_does_not_have_is_refused(whole, layers):
    with pytest.raises(ConfigError, match=rf"{layers} layers .* that has 3; give a number between 1 and 3"):
        first_layers(whole, layers)


def test_a_decoder_without_a_list_of_layers_is_refused(whole):
    whole.config.num_hidden_layers = 7
    with pytest.raises(UnsupportedModelError, match="no list of its 7 layers"):
        first_layers(whole, 2)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"layers is 2 for a model made anew; give scratch\.layers"):
        ModelConfig(scratch=SCRATCH, layers=2)
    with pytest.raises(ConfigError, match="layers is 0; it must be at least 1"):
        ModelConfig(path="somewhere", layers=0)
