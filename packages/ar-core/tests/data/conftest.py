"""A character tokenizer with the special tokens of ChatML."""

import string

import pytest

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _build(template: str | None = None, post: bool = False):
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    specials = ["<pad>", "<bos>", "<|im_end|>", "<|im_start|>", "<unk>"]
    characters = "\n " + string.ascii_letters + string.digits + string.punctuation
    vocabulary = {token: index for index, token in enumerate([*specials, *characters])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    if post:
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
        )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    return fast


@pytest.fixture(scope="session")
def build_tokenizer():
    """Build a character tokenizer: ``build(template, post)``; ``post`` lets it prepend BOS by itself."""
    return _build


@pytest.fixture(scope="session")
def chatml():
    """ChatML without generation markers."""
    return _build(CHATML)
