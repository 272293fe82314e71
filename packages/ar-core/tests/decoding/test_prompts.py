"""What decoders take as prompts."""

from types import SimpleNamespace

import pytest
import torch
from ar_core.decoding import check_prompts
from ar_core.errors import DataError

MODEL = SimpleNamespace(vocab_size=10, context_length=8)


@pytest.mark.parametrize(
    "prompts", [[[1, 2], [3, 4]], ((1, 2), (3, 4)), torch.tensor([[1, 2], [3, 4]]), [torch.tensor([1, 2]), [3, 4]]]
)
def test_sequences_and_tensors_are_read(prompts):
    assert check_prompts(MODEL, prompts, 4) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([1, 2], "Prompt 0 is 1, but must be a list of token ids; encode text with the tokenizer"),
        (torch.tensor([1, 2]), r"Prompt 0 is tensor\(1\), but must be a list of token ids"),
        ("abc", "Prompt 0 is 'a', but must be a list"),
        ([[1], "abc"], "Prompt 1 is 'abc', but must be a list"),
        ([[1.0, 2.0]], r"Prompt 0 is \[1.0, 2.0\], but must be a list"),
        ([], "No prompt was given"),
        (torch.ones(0, 3), "No prompt was given"),
        ([[]], "Prompt 0 is empty"),
        ([[1, 10]], "Prompt 0 holds the token id 10"),
        ([[1] * 5], "Prompt 0 has 5 tokens; with 4 new ones it needs 9 positions"),
    ],
)
def test_what_is_no_prompt_is_refused(prompts, message):
    with pytest.raises(DataError, match=message):
        check_prompts(MODEL, prompts, 4)
