"""Which tokens of a chat are supervised."""

import pytest
from ar_core.data import chat_document
from ar_core.errors import DataError

CHAT = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello\n"},
    {"role": "user", "content": "bye?"},
    {"role": "assistant", "content": "bye"},
]

MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED_SHORT = MARKED.replace(
    "m['content'] + '<|im_end|>' }}{% endgeneration %}", "m['content'] }}{% endgeneration %}<|im_end|>"
)
PLAIN = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def _spans(tokenizer, document) -> list[str]:
    """Supervised runs as text."""
    spans, run = [], []
    for token, flag in zip(document.ids.tolist(), document.supervised.tolist()):
        if flag:
            run.append(token)
        elif run:
            spans.append(tokenizer.decode(run))
            run = []
    return [*spans, tokenizer.decode(run)] if run else spans


def test_by_difference(chatml) -> None:
    document = chat_document(chatml, CHAT, "here")
    assert _spans(chatml, document) == ["hello\n<|im_end|>", "bye<|im_end|>"]
    assert document.ids.tolist() == chatml.apply_chat_template(CHAT, tokenize=True, return_dict=True)["input_ids"]


@pytest.mark.parametrize("template", [MARKED, MARKED_SHORT])
def test_by_markers_equals_by_difference(build_tokenizer, chatml, template) -> None:
    marked = build_tokenizer(template)
    document, expected = chat_document(marked, CHAT, "here"), chat_document(chatml, CHAT, "here")
    assert document.ids.tolist() == expected.ids.tolist()
    assert document.supervised.tolist() == expected.supervised.tolist()


def test_a_template_without_closing_token_supervises_its_line_end(build_tokenizer) -> None:
    tokenizer = build_tokenizer(PLAIN)
    assert _spans(tokenizer, chat_document(tokenizer, CHAT, "here")) == ["hello\n\n", "bye\n"]


def test_what_inference_sees_is_what_precedes_the_span(chatml) -> None:
    document = chat_document(chatml, CHAT, "here")
    prompt = chatml.apply_chat_template(CHAT[:4], add_generation_prompt=True, tokenize=True, return_dict=True)
    assert document.ids.tolist()[: len(prompt["input_ids"])] == prompt["input_ids"]
    assert not document.supervised[len(prompt["input_ids"]) - 1]
    assert document.supervised[len(prompt["input_ids"])]


def test_default_system_message_of_the_template(build_tokenizer) -> None:
    template = (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nbe short<|im_end|>\n' }}{% endif %}"
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer = build_tokenizer(template)
    document = chat_document(tokenizer, CHAT[1:], "here")
    assert _spans(tokenizer, document) == ["hello\n<|im_end|>", "bye<|im_end|>"]


def test_a_template_that_cannot_be_split(build_tokenizer) -> None:
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' and not loop.last %}...{% else %}{{ m['content'] }}{% endif %}"
        "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    with pytest.raises(DataError, match=r"f\.jsonl, line 3: the chat template cannot be split at message 3"):
        chat_document(build_tokenizer(template), CHAT, "f.jsonl, line 3")


def test_a_template_that_refuses(build_tokenizer) -> None:
    template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match=r"line 1: the chat template refuses this chat \(roles must alternate\)"):
        chat_document(build_tokenizer(template), CHAT, "line 1")


def test_markers_that_mark_nothing(build_tokenizer) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if false %}{% generation %}{% endgeneration %}{% endif %}"
    with pytest.raises(DataError, match="marks no token of the assistant's"):
        chat_document(build_tokenizer(template), CHAT, "line 1")


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "give a list of objects with role and content"),
        ("hi", "messages is 'hi'"),
        ([{"role": "user"}], "message 1 is"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "message 2 is"),
        ([{"role": "user", "content": "a"}], "no message has the role assistant"),
    ],
)
def test_messages(chatml, messages, message) -> None:
    with pytest.raises(DataError) as caught:
        chat_document(chatml, messages, "f, line 9")
    assert message in str(caught.value)
    assert "f, line 9" in str(caught.value)


def test_no_template(build_tokenizer) -> None:
    with pytest.raises(DataError, match="no chat template"):
        chat_document(build_tokenizer(None), CHAT, "here")


@pytest.mark.smollm2
def test_smollm2_template(smollm2_gguf) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name)
    chat = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "It is 4."}]
    document = chat_document(tokenizer, chat, "here")
    assert _spans(tokenizer, document) == ["It is 4.<|im_end|>"]
    prompt = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=True, return_dict=True)
    assert document.ids.tolist()[: len(prompt["input_ids"])] == prompt["input_ids"]
