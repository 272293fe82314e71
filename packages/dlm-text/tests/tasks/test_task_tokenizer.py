import pytest
from ar_core.errors import DataError
from dlm_text.tasks import SPECIALS, SYMBOLS, build_tokenizer, encode_answer, encode_prompt, held_out


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_ids_are_fixed(tokenizer):
    assert len(tokenizer) == len(SPECIALS) + len(SYMBOLS) < 100
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIALS] == [0, 1, 2, 3, 4]
    ids = [getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "mask", "unk")]
    assert ids == [0, 1, 2, 3, 4]


def test_one_token_per_word_digit_and_sign(tokenizer):
    tokens = tokenizer.tokenize("kim has 47 maps.")
    assert tokens == ["kim", " ", "has", " ", "4", "7", " ", "maps", "."]
    assert tokenizer.tokenize("7+8+0=5c1") == list("7+8+0=5c1")
    assert len(set(SYMBOLS)) == len(SYMBOLS)


def test_survives_saving(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = 'kim has 47 maps.\n{"age": 1}'
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.decode(again(text)["input_ids"]) == text
    assert again.mask_token_id == tokenizer.mask_token_id
    assert again.chat_template == tokenizer.chat_template


def test_chat_template_writes_prompt_and_answer_and_marks_the_answer(tokenizer):
    p = held_out("mixed", 1)[0]
    chat = [{"role": "user", "content": p.prompt.rstrip("\n")}, {"role": "assistant", "content": p.answer}]
    out = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    prompt, answer = encode_prompt(tokenizer, p.prompt), encode_answer(tokenizer, p.answer)
    assert out["input_ids"] == prompt + answer
    # Of the answer's marks the text is what matters: whoever reads them adds the closing token by its id.
    assert out["assistant_masks"][: len(prompt)] == [0] * len(prompt)
    assert all(out["assistant_masks"][len(prompt) : -1])


def test_foreign_words_are_named(tokenizer):
    with pytest.raises(DataError, match=r"'K', 'im', 'owns', which the task tokenizer does not know"):
        encode_prompt(tokenizer, "Kim owns 5 maps\n")
