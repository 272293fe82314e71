"""Giving a mask token to a model that never had one."""

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.hf import add_mask_token, find_mask_token
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

MASK = "|<MASK>|"


def make_tokenizer() -> PreTrainedTokenizerFast:
    pieces = Tokenizer(models.WordLevel({**{chr(97 + i): i for i in range(26)}, "<unk>": 26, "a-b": 27}, "<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.Punctuation()
    return PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>")


def make_model(vocab: int, *, tie: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tie,
    )
    return LlamaForCausalLM(config)


@pytest.mark.parametrize("vocab", [28, 40], ids=["grown", "padding"])
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_the_new_row_is_the_mean_of_the_old(vocab: int, tie: bool) -> None:
    model, tokenizer = make_model(vocab, tie=tie), make_tokenizer()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mask_id = add_mask_token(model, tokenizer, MASK)
    assert mask_id == 28 == find_mask_token(tokenizer, MASK)
    assert model.config.vocab_size == max(vocab, 29)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tie
    for name, tensor in model.state_dict().items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            torch.testing.assert_close(tensor[28], before[name][:28].mean(0))
            assert torch.equal(tensor[:28], before[name][:28])
            assert torch.equal(tensor[29:], before[name][29:])
        else:
            assert torch.equal(tensor, before[name])
    assert model(torch.tensor([[0, 28]])).logits.shape[-1] == max(vocab, 29)


def test_the_global_generator_is_left_alone() -> None:
    model, tokenizer = make_model(28, tie=True), make_tokenizer()
    state = torch.random.get_rng_state()
    add_mask_token(model, tokenizer, MASK)
    assert torch.equal(state, torch.random.get_rng_state())


def test_adapters_stay_the_only_trained_weights() -> None:
    import peft

    wrapped = peft.get_peft_model(make_model(28, tie=True), peft.LoraConfig(r=2, target_modules="all-linear"))
    mask_id = add_mask_token(wrapped, make_tokenizer(), MASK)
    trained = {name for name, parameter in wrapped.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora" in name for name in trained)
    assert wrapped(torch.tensor([[0, mask_id]])).logits.shape[-1] == 29


def test_absent_tokens_are_not_found() -> None:
    assert find_mask_token(make_tokenizer(), MASK) is None


def test_pieces_of_text_are_no_mask_tokens() -> None:
    with pytest.raises(
        ConfigError, match=r"mask_token 'a-b' encodes to \[0, 26, 1\] rather than to its one id 27: name"
    ):
        find_mask_token(make_tokenizer(), "a-b")


def test_a_piece_of_one_token_is_no_mask_token() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.encode("b", add_special_tokens=False) == [1]
    with pytest.raises(
        ConfigError, match=r"mask_token 'b' is an ordinary piece of text \(id 1\): name a special token"
    ):
        find_mask_token(tokenizer, "b")


def test_tokens_that_stand_in_texts_are_no_mask_tokens() -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    for text, role in (("<unk>", "unk_token"), ("<s>", "bos_token"), ("</s>", "eos_token")):
        with pytest.raises(
            ConfigError, match=f"mask_token '{text}' is the tokenizer's {role}, which stands in texts: name"
        ):
            find_mask_token(tokenizer, text)


@pytest.mark.parametrize("special", [True, False])
def test_added_tokens_are_mask_tokens(special: bool) -> None:
    """Those of fill-in-the-middle are not special; padding stands in no text."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<|fim_pad|>"], special_tokens=special)
    assert find_mask_token(tokenizer, "<|fim_pad|>") == 28
    tokenizer.pad_token = "<|fim_pad|>"
    assert find_mask_token(tokenizer, "<|fim_pad|>") == 28


@pytest.mark.parametrize("text", ["word", "two words", "<a b>", "a>", ""])
def test_what_texts_may_hold_is_not_added(text: str) -> None:
    model, tokenizer = make_model(28, tie=True), make_tokenizer()
    with pytest.raises(
        ConfigError, match=f"mask_token '{text}' would be taken for a mask wherever a text holds it: name"
    ):
        add_mask_token(model, tokenizer, text)
    assert len(tokenizer) == 28
