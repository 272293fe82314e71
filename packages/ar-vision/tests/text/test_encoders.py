"""Encoders of text."""

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_vision.backbones.infinity.config import InfinityConfig
from ar_vision.text.encoder import build_text_encoder, encoded_alone, tell_of_cuts
from ar_vision.text.hashed import HashedText
from ar_vision.text.t5 import T5Text
from ar_vision.text.text import Text

HASHED = InfinityConfig(text_encoder="hashed", text_width=64, text_length=8).texts
T5 = InfinityConfig().texts


def test_hashed_words_are_fixed_and_know_spelling():
    encoder = HashedText(512, 16)
    text = encoder.encode(["A red cat.", "a RED cat.", "two red cats", ""])
    assert text.valid.sum(1).tolist() == [5, 5, 4, 1]
    assert torch.equal(text.features[0], text.features[1])
    again = HashedText(512, 16).encode(["a red cat."])
    torch.testing.assert_close(again.features[0], text.features[0, :5])
    norms = text.features[text.valid].square().mean(-1).sqrt()
    assert ((norms > 0.8) & (norms < 1.2)).all()
    cat, cats, red = text.features[0, 2], text.features[2, 2], text.features[0, 1]
    similar, other = torch.cosine_similarity(cat, cats, 0), torch.cosine_similarity(cat, red, 0)
    assert similar > 0.2
    assert abs(other) < 0.15
    # A word is told apart by the one before it, so that order is not lost.
    assert not torch.equal(text.features[0, 1], text.features[2, 1])


def test_long_texts_keep_their_end():
    encoder = HashedText(32, 4)
    text = encoder.encode(["one two three four five", "one two"])
    assert text.valid.sum(1).tolist() == [4, 3]
    torch.testing.assert_close(text.features[0, 3], text.features[1, 2])


def test_texts_that_lose_tokens_are_told_of_once_with_their_number(capsys):
    encoder = HashedText(32, 4)
    tell_of_cuts(encoder, ["one two three four five", "one two three", "one, two, three"])
    (said,) = capsys.readouterr().err.splitlines()
    assert "2 of 3 texts have more than the 4 tokens that the model takes (up to 6)" in said
    tell_of_cuts(encoder, ["one two three"])
    assert not capsys.readouterr().err


def test_hashed_features_do_not_depend_on_the_batch():
    encoder = HashedText(32, 16)
    together = encoder.encode(["a dog", "incomprehensibilities of a sesquipedalian dog"])
    torch.testing.assert_close(encoder.encode(["a dog"]).features[0], together.features[0, :3])


def test_texts_encoded_alone_are_those_of_a_batch_without_its_padding():
    encoder, texts = HashedText(32, 16), ["a dog", "two very small dogs"]
    together, alone = encoder.encode(texts), encoded_alone(encoder, texts)
    assert [len(one) for one in alone] == [3, 5]
    for row, one in enumerate(alone):
        torch.testing.assert_close(one, together.features[row][together.valid[row]])


def test_joining_texts_pads_to_the_longer():
    joined = Text.of([torch.ones(2, 3)]) + Text.of([torch.ones(4, 3), torch.ones(1, 3)])
    assert joined.features.shape == (3, 4, 3)
    assert joined.valid.sum(1).tolist() == [2, 4, 1]


def test_the_encoder_of_a_model():
    assert isinstance(build_text_encoder(HASHED), HashedText)
    with pytest.raises(ConfigError, match="leave it out"):
        build_text_encoder(HASHED, "some/t5")
    with pytest.raises(ConfigError, match="none is given"):
        build_text_encoder(T5)


@pytest.fixture
def t5_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<pad>", "</s>", "<unk>", "a", "cat", "on", "mat"]
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(tmp_path)
    config = transformers.T5Config(vocab_size=len(words), d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_t5_features_of_a_batch_are_those_of_single_texts(t5_folder):
    encoder = T5Text(t5_folder, 8)
    text = encoder.encode(["a cat", "a cat on a mat"])
    assert text.valid.sum(1).tolist() == [3, 6]
    assert text.features.shape == (2, 6, 16)
    torch.testing.assert_close(encoder.encode(["a cat"]).features[0], text.features[0, :3], atol=1e-5, rtol=1e-5)
    assert encoder.encode(["a " * 20]).valid.sum().item() == 8
    assert encoder.count(["a " * 20, "a cat"]) == [21, 3]
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_t5_of_another_width_or_none_is_refused(t5_folder, tmp_path):
    with pytest.raises(ConfigError, match="has width 16 and the model takes 2048"):
        build_text_encoder(T5, str(t5_folder))
    with pytest.raises(CheckpointError, match="no T5 encoder can be read"):
        T5Text(tmp_path / "nothing", 8)
