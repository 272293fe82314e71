"""Lossless decoders inside `generate(custom_generate=...)`."""

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.hf import custom_generate
from ar_core.registry import decoder, resolve
from transformers import LlamaConfig, LlamaForCausalLM


def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=30,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            initializer_range=0.4,
            eos_token_id=4,
            pad_token_id=0,
        )
        return LlamaForCausalLM(config).double().eval()


PADDED = torch.tensor([[0, 0, 5, 6, 7], [9, 8, 7, 6, 5]])
SETTINGS = {"attention_mask": (PADDED != 0).long(), "max_new_tokens": 15}


@pytest.mark.parametrize("name", ["ar", "lookup", "jacobi"])
def test_equal_to_plain_generate(name):
    record = decoder(name)
    seen = []
    function = custom_generate(resolve(record.decode), resolve(record.options)(), on_decoded=seen.append)
    expected = model().generate(PADDED, do_sample=False, **SETTINGS)
    assert torch.equal(model().generate(PADDED, custom_generate=function, do_sample=False, **SETTINGS), expected)
    assert seen[0].stats.nfe > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 2}, "num_beams=2"),
        ({"repetition_penalty": 1.3}, "RepetitionPenaltyLogitsProcessor"),
        ({"prompt_lookup_num_tokens": 3}, "the mode assisted_generation, which this decoder does not do"),
        ({"max_time": 3.0}, "MaxTimeCriteria"),
        ({"return_dict_in_generate": True}, "return_dict_in_generate"),
    ],
)
def test_what_the_decoder_does_not_do_is_refused(settings, message):
    record = decoder("ar")
    function = custom_generate(resolve(record.decode), resolve(record.options)())
    with pytest.raises(ConfigError, match=message):
        model().generate(PADDED, custom_generate=function, **SETTINGS, **settings)
