"""Tokenizers compared by their strings (spec section 5); oracle 14."""

import pytest
import torch
from ar_core.errors import ConfigError
from dlm_text.diffuspec.vocabulary import Vocabulary


class Tokenizer:
    def __init__(self, *texts, **special):
        self.vocab = {text: number for number, text in enumerate(texts)}
        self.unk_token_id = special.get("unk")
        self.pad_token_id = special.get("pad")
        self.eos_token_id = special.get("eos")

    def get_vocab(self):
        return self.vocab


def test_equal_numbers_of_different_strings_are_not_shared():
    """As id 151666: a tool tag of one tokenizer, the mask token of the other."""
    verifier = Tokenizer("a", "b", "c", "<end>", "<tool>", "<think>")
    drafter = Tokenizer("a", "b", "c", "<end>", "<bos>", "<mask>", eos=3)
    found = Vocabulary.align(verifier, drafter, 8, 7, forbidden={5}, min_shared=0.5)
    assert found.shared == 4
    # Neither does the context show the mask token, whatever number the verifier uses for it.
    assert found.encode([0, 1, 5, 4, 3]) == [0, 1, 3, 3, 3]
    logits = found.forbid(torch.zeros(2, 7))
    assert logits.isinf().nonzero()[:, 1].unique().tolist() == [4, 5, 6]
    log_probs = found.translate(logits.log_softmax(-1))
    assert log_probs.shape == (2, 8)
    assert torch.allclose(log_probs.exp()[0], torch.tensor([0.25] * 4 + [0.0] * 4))


def test_permuted_ids_are_mapped():
    verifier, drafter = Tokenizer("a", "b", "c", "d"), Tokenizer("d", "c", "<mask>", "a", "b")
    found = Vocabulary.align(verifier, drafter, 4, 5, forbidden={2})
    assert found.encode([0, 1, 2, 3]) == [3, 4, 1, 0]
    log_probs = found.forbid(torch.arange(5.0)[None]).log_softmax(-1)
    assert torch.equal(found.translate(log_probs)[0], log_probs[0, [3, 4, 1, 0]])


def test_too_different_tokenizers_are_refused():
    with pytest.raises(ConfigError, match="knows 1 of the verifier's 3 tokens"):
        Vocabulary.align(Tokenizer("a", "b", "c"), Tokenizer("a", "x", "y"), 3, 3)


def test_equal_vocabularies_pass_through():
    found = Vocabulary.same(6, 6, forbidden={5}, filler=2)
    # A verifier that has the mask token itself does not show it as one to be filled in.
    assert found.encode([4, 5]) == [4, 2]
    log_probs = found.forbid(torch.randn(2, 3, 6)).log_softmax(-1)
    assert found.translate(log_probs) is log_probs
    assert torch.isinf(log_probs[..., 5]).all()


@pytest.mark.parametrize(("size", "drafter_size"), [(6, 9), (9, 6)])
def test_rows_beyond_the_other_model_are_forbidden(size, drafter_size):
    """Published vocabularies are padded to different lengths."""
    found = Vocabulary.same(size, drafter_size, forbidden={5})
    log_probs = found.translate(found.forbid(torch.zeros(1, drafter_size)).log_softmax(-1))
    assert log_probs.shape == (1, size)
    assert log_probs.isfinite().nonzero()[:, 1].tolist() == [0, 1, 2, 3, 4]
