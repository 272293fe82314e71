"""Prompts alone are what the same records begin with in training."""

import pytest
from ar_core.data import Record, TextDataConfig, chat_document, prompt_encoder
from ar_core.data.encode import encoder
from ar_core.errors import DataError


@pytest.fixture
def tokenizer(build_tokenizer):
    return build_tokenizer(post=True)


RECORD = Record("a.jsonl, line 1", {"prompt": "one two", "completion": "three", "text": "one two three"})
CHAT = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]


def test_a_prompt_is_the_unsupervised_part_of_the_document(tokenizer) -> None:
    config = TextDataConfig(kind="prompt", path="a.jsonl")
    document = encoder(config, tokenizer)(RECORD)
    prompt = prompt_encoder(config, tokenizer)(RECORD)
    assert prompt == document.ids[~document.supervised].tolist()
    assert 0 < len(prompt) < len(document)


def test_completions_need_not_be_there(tokenizer) -> None:
    config = TextDataConfig(kind="prompt", path="a.jsonl", fields={"prompt": "question"})
    assert prompt_encoder(config, tokenizer)(Record("", {"question": "one two"}))
    with pytest.raises(DataError, match=r"a.jsonl, line 1: the field 'question' is missing"):
        prompt_encoder(config, tokenizer)(RECORD)


def test_text_is_its_own_prompt(tokenizer) -> None:
    config = TextDataConfig(kind="text", path="a.jsonl", append_eos=False)
    assert prompt_encoder(config, tokenizer)(RECORD) == encoder(config, tokenizer)(RECORD).ids.tolist()


def test_a_chat_ends_with_the_generation_prompt(chatml) -> None:
    config = TextDataConfig(kind="chat", path="a.jsonl")
    prompt = prompt_encoder(config, chatml)(Record("", {"messages": CHAT}))
    answered = [*CHAT, {"role": "assistant", "content": "two"}]
    document = chat_document(chatml, answered, "")
    assert document.ids[: len(prompt)].tolist() == prompt
    assert document.supervised[len(prompt)]
    assert not document.supervised[len(prompt) - 1]
    assert prompt_encoder(config, chatml)(Record("", {"messages": answered})) == prompt
    with pytest.raises(DataError, match="no message comes before the assistant's"):
        prompt_encoder(config, chatml)(Record("x", {"messages": answered[-1:]}))


def test_a_question_becomes_a_user_turn(chatml) -> None:
    config = TextDataConfig(kind="prompt", path="a.jsonl", chat_template=True)
    document = encoder(config, chatml)(RECORD)
    prompt = prompt_encoder(config, chatml)(RECORD)
    assert document.ids[: len(prompt)].tolist() == prompt
    assert document.supervised[len(prompt)]
