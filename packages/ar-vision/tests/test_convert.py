import json
from argparse import Namespace
from hashlib import sha256

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import write_tensors
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.loading import to_published as llamagen_to_published
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.convert import convert
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.loading import to_published
from ar_vision.tokenizers.vq.model import VqTokenizer


@pytest.fixture
def model():
    autoencoder = AutoencoderConfig(channels=32, channel_multipliers=(1, 1), latent_channels=4)
    model = VqTokenizer(VqTokenizerConfig(autoencoder=autoencoder, vocab_size=16, code_dim=4))
    model.initialize(torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def published(model, tmp_path):
    torch.save({"model": to_published(model), "args": Namespace(lr=1.0)}, tmp_path / "vq.pt")
    return tmp_path / "vq.pt"


def test_converted_weights_are_those_published_and_say_where_they_come_from(model, published, tmp_path):
    line = convert("vq", published, tmp_path / "vq")
    loaded = load_checkpoint(tmp_path / "vq", "tokenizer")
    assert all(loaded.model.state_dict()[name].equal(value) for name, value in model.state_dict().items())
    count = sum(parameter.numel() for parameter in model.parameters())
    assert line == f"vq with {count:,} parameters under 'model' written to {tmp_path / 'vq'}"
    assert loaded.provenance["source"] == "vq.pt"
    assert loaded.provenance["sha256"] == {"vq.pt": sha256(published.read_bytes()).hexdigest()}


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def test_what_cannot_be_converted_is_said_and_nothing_is_written(model, published, tmp_path):
    tensors = to_published(model)
    renamed = {("quantize.embed" if name == "quantize.embedding.weight" else name): t for name, t in tensors.items()}
    poisoned = tensors | {"quantize.embedding.weight": torch.full((16, 4), torch.nan)}
    for content, sentence in [
        ({"model": renamed}, "is no vq as published: .*quantize.embed"),
        ({"model": poisoned}, "values in 'codebook.weight' that are not finite"),
        ({"model": tensors, "ema": Payload()}, "could run code"),
        ({"epoch": 3}, "holds no weights"),
    ]:
        torch.save(content, tmp_path / "bad.pt")
        with pytest.raises(CheckpointError, match=sentence):
            convert("vq", tmp_path / "bad.pt", tmp_path / "out")
        assert not (tmp_path / "out").exists()
    assert not Payload.ran
    with pytest.raises(ConfigError, match="vq is a tokenizer itself"):
        convert("vq", published, tmp_path / "out", tokenizer=tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="exists already"):
        convert("vq", published, tmp_path / "out")


def test_what_weights_do_not_tell_is_a_setting(tmp_path):
    config = LlamaGenConfig(layers=1, heads=2, dim=16, vocab_size=8, grid=3, num_classes=5)
    model = LlamaGen(config)
    model.initialize(torch.Generator().manual_seed(0))
    torch.save({"model": llamagen_to_published(model)}, tmp_path / "c2i.pt")
    with pytest.raises(ConfigError, match="grid is needed"):
        convert("llamagen", tmp_path / "c2i.pt", tmp_path / "out", settings={"heads": 2})
    with pytest.raises(ConfigError, match="no setting 'gird'; did you mean 'grid'"):
        convert("llamagen", tmp_path / "c2i.pt", tmp_path / "out", settings={"gird": 3})
    with pytest.raises(ConfigError, match="grid is 'three'"):
        convert("llamagen", tmp_path / "c2i.pt", tmp_path / "out", settings={"heads": 2, "grid": "three"})
    convert("llamagen", tmp_path / "c2i.pt", tmp_path / "out", settings={"heads": 2, "grid": 3})
    loaded = load_checkpoint(tmp_path / "out", "generator")
    assert loaded.model.config == config
    assert loaded.provenance["settings"] == {"heads": 2, "grid": 3}


def test_a_tokenizer_of_other_codes_is_no_pair(model, tmp_path):
    generator = LlamaGen(LlamaGenConfig(layers=1, heads=2, dim=16, vocab_size=17, grid=3, num_classes=5))
    generator.initialize(torch.Generator().manual_seed(0))
    torch.save({"model": llamagen_to_published(generator)}, tmp_path / "c2i.pt")
    save_checkpoint(tmp_path / "vq", model)
    settings = {"heads": 2, "grid": 3}
    with pytest.raises(
        CheckpointError, match="codes with vocab_size 17 and those of the VqTokenizer have vocab_size 16"
    ):
        convert("llamagen", tmp_path / "c2i.pt", tmp_path / "out", tokenizer=tmp_path / "vq", settings=settings)
    assert not (tmp_path / "out").exists()
    bits = BsqTokenizer(
        BsqTokenizerConfig(AutoencoderConfig(8, (1, 1), attention=False, latent_channels=4, norm_groups=4))
    )
    bits.initialize(torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "bsq", bits)
    with pytest.raises(
        CheckpointError, match=r"is a llamagen, whose codes are those of a vq, and .*bsq is a bsq: give"
    ):
        convert("llamagen", tmp_path / "c2i.pt", tmp_path / "out", tokenizer=tmp_path / "bsq", settings=settings)


def test_the_tokenizer_is_recorded(tmp_path):
    autoencoder = AutoencoderConfig(channels=8, channel_multipliers=(1, 1), latent_channels=4, norm_groups=4)
    tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=autoencoder, vocab_size=8, code_dim=4))
    tokenizer.initialize(torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "vq", tokenizer)
    generator = LlamaGen(LlamaGenConfig(layers=1, heads=2, dim=16, vocab_size=8, grid=3, num_classes=5))
    generator.initialize(torch.Generator().manual_seed(0))
    torch.save({"model": llamagen_to_published(generator)}, tmp_path / "c2i.pt")
    convert(
        "llamagen", tmp_path / "c2i.pt", tmp_path / "out", tokenizer=tmp_path / "vq", settings={"heads": 2, "grid": 3}
    )
    assert load_checkpoint(tmp_path / "out").tokenizer == fingerprint(tokenizer)


def test_shards_are_named_by_their_own_digests_whether_folder_or_index_is_given(model, tmp_path):
    shards, tensors = tmp_path / "shards", to_published(model)
    shards.mkdir()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in parts.items():
        write_tensors(shards / file, {name: tensors[name] for name in held})
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    expected = {file: sha256((shards / file).read_bytes()).hexdigest() for file in parts}
    for place, source in enumerate((shards, shards / "model.safetensors.index.json")):
        convert("vq", source, tmp_path / f"out{place}")
        assert load_checkpoint(tmp_path / f"out{place}").provenance["sha256"] == expected
