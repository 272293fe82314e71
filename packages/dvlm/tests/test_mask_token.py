"""M is a token that no conversation holds."""

import pytest
from ar_core.errors import ConfigError
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from dvlm.build import mask_row
from dvlm.chat.byte_tokenizer import byte_tokenizer
from dvlm.chat.config import ChatConfig
from dvlm.chat.encode import ChatEncoder
from tiny_vision_language import assembled


def job(token, *overrides):
    given = [f"method.mask_token='{token}'", "data.count=8", "data.held_out=0", "~train.eval_every", *overrides]
    return build_job(recipe("diffusionvl"), read_run_config(recipe("diffusionvl"), "tiny", given))


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("a", r"mask_token 'a' is an ordinary piece of text \(id \d+\): name a special token of the tokenizer, or"),
        ("cat", r"mask_token 'cat' would be taken for a mask wherever a text holds it: name one in brackets"),
        (
            "<|im_start|>",
            r"method\.mask_token is '<\|im_start\|>', which stands in conversations or ends them: name another",
        ),
        ("<|im_end|>", r"mask_token '<\|im_end\|>' is the tokenizer's eos_token, which stands in texts: name another"),
    ],
)
def test_tokens_in_use_are_refused(token, said):
    with pytest.raises(ConfigError, match=said):
        job(token)


def test_tokens_of_their_own_are_taken():
    for token in ("<mask>", "<|endoftext|>", "|<MASK>|", "<|fim_pad|>"):
        assert job(token)
    # The tokenizer's token of a turn's start, where turns have none.
    assert job("<|im_start|>", "data.chat.form=plain")


def test_what_the_form_of_conversations_needs_is_reserved():
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<|vision_start|>", "<|vision_end|>"])
    model = assembled()
    for markers in (False, True):
        encoder = ChatEncoder(tokenizer, ChatConfig(vision_markers=markers))
        names = tokenizer.convert_ids_to_tokens(sorted(encoder.reserved))
        assert {"<|im_start|>", "<|im_end|>"} <= set(names)
        assert ("<|vision_end|>" in names) == markers
    for token in ("<|vision_start|>", "<|vision_end|>"):
        with pytest.raises(ConfigError, match="which stands in conversations or ends them"):
            mask_row(model, tokenizer, mask_id=None, mask_token=token, reserved=encoder.reserved)


def test_an_end_of_the_generation_config_is_no_mask():
    model, tokenizer = assembled(), byte_tokenizer()
    model.base_language.generation_config.eos_token_id = tokenizer.get_vocab()["<|endoftext|>"]
    with pytest.raises(ConfigError, match=r"'<\|endoftext\|>', which stands in conversations or ends them"):
        mask_row(model, tokenizer, mask_id=None, mask_token="<|endoftext|>")
