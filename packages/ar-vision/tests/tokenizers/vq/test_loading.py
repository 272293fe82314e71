import dataclasses
import json

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_vision.checkpoint import load_checkpoint, save_checkpoint
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.vq.config import PRESETS, VqTokenizerConfig
from ar_vision.tokenizers.vq.loading import from_published, to_published
from ar_vision.tokenizers.vq.model import VqTokenizer

CONFIG = VqTokenizerConfig(AutoencoderConfig(8, (1, 2, 2), 1, True, 6, norm_groups=8), vocab_size=20, code_dim=5)
BARE = dataclasses.replace(CONFIG, autoencoder=dataclasses.replace(CONFIG.autoencoder, attention=False))


def published(config=CONFIG):
    model = VqTokenizer(config)
    model.initialize(torch.Generator().manual_seed(0))
    return model, {name: tensor.clone() for name, tensor in to_published(model).items()}


@pytest.mark.golden
@pytest.mark.parametrize(("case", "vocab_size", "code_dim"), [("llamagen_vq16", 64, 8), ("flexvar_vqvae", 64, 32)])
def test_names_and_shapes_are_the_published_ones(case, vocab_size, code_dim, published_shapes, recipe_weights):
    shapes = published_shapes(case)
    model = from_published(recipe_weights(shapes, ""))
    assert {name: tuple(tensor.shape) for name, tensor in to_published(model).items()} == shapes
    assert model.config == VqTokenizerConfig(AutoencoderConfig(32, latent_channels=32), vocab_size, code_dim)


@pytest.mark.golden
def test_loaded_weights_have_the_recorded_sums(golden_dir, golden_llamagen_tokenizer):
    sums = json.loads((golden_dir / "vision_a" / "llamagen_vq16_checksums.json").read_text())
    tensors = to_published(golden_llamagen_tokenizer)
    for name, (total, absolute) in sums.items():
        assert tensors[name].double().sum().item() == pytest.approx(total, abs=1e-6), name
        assert tensors[name].double().abs().sum().item() == pytest.approx(absolute, abs=1e-6), name


@pytest.mark.parametrize("config", [CONFIG, BARE], ids=["attention", "no attention"])
def test_weights_and_shape_survive_the_published_layout(config):
    model, tensors = published(config)
    tensors["quantize.codebook_used"] = torch.zeros(65536)
    loaded = from_published(tensors, norm_groups=8)
    assert loaded.config == config
    assert all(torch.equal(a, loaded.state_dict()[key]) for key, a in model.state_dict().items())


def test_the_decoder_is_published_from_the_coarsest_level_on():
    model, tensors = published()
    assert torch.equal(
        tensors["decoder.conv_blocks.0.attn.0.norm.weight"], model.decoder.levels[2].attentions[0].norm.weight
    )
    assert torch.equal(
        tensors["decoder.conv_blocks.2.res.0.conv1.weight"], model.decoder.levels[0].blocks[0].conv1.weight
    )
    q, k, v = model.encoder.middle.attention.qkv.weight.chunk(3)
    for part, expected in zip("qkv", (q, k, v)):
        assert torch.equal(tensors[f"encoder.mid.1.{part}.weight"], expected)


@pytest.mark.parametrize(
    "key",
    ["encoder.conv_in.weight", "encoder.conv_blocks.1.res.0.nin_shortcut.bias", "decoder.conv_blocks.0.attn.1.k.weight",
     "encoder.mid.1.v.bias", "decoder.mid.2.conv2.weight", "quantize.embedding.weight", "quant_conv.weight"],
)  # fmt: skip
def test_missing_and_renamed_keys_are_named(key):
    _, tensors = published()
    tensor = tensors.pop(key)
    # Errors write the first number of a key together with those of other keys.
    before = key.split(".0.")[0]
    with pytest.raises(CheckpointError, match="lacks") as raised:
        from_published(tensors, norm_groups=8)
    assert before in str(raised.value)
    with pytest.raises(CheckpointError) as raised:
        from_published(tensors | {f"{key}_x": tensor}, norm_groups=8)
    assert before in str(raised.value)


def test_unexpected_and_misshapen_keys_are_named():
    _, tensors = published()
    with pytest.raises(CheckpointError, match=r"quantize\.new"):
        from_published(tensors | {"quantize.new": torch.zeros(2)}, norm_groups=8)
    with pytest.raises(CheckpointError, match=r"encoder.mid.1.k.bias \[5\] instead of \[16\]"):
        from_published(tensors | {"encoder.mid.1.k.bias": torch.zeros(5)}, norm_groups=8)


@pytest.mark.parametrize(
    ("name", "downsampling", "vocab_size", "code_dim"),
    [("llamagen_vq16", 16, 16384, 8), ("llamagen_vq8", 8, 16384, 8), ("flexvar", 16, 8912, 32)],
)
def test_published_sizes(name, downsampling, vocab_size, code_dim):
    with torch.device("meta"):
        model = VqTokenizer(PRESETS[name])
    assert (model.downsampling, model.vocab_size, model.code_dim) == (downsampling, vocab_size, code_dim)
    shapes = to_published(model)
    assert shapes["quantize.embedding.weight"].shape == (vocab_size, code_dim)
    assert shapes["post_quant_conv.weight"].shape == (256, code_dim, 1, 1)
    assert shapes["encoder.mid.1.q.weight"].shape == (512, 512, 1, 1)


def test_native_checkpoints_bring_the_tokenizer_back(tmp_path):
    model, _ = published()
    save_checkpoint(tmp_path, model)
    loaded = load_checkpoint(tmp_path, "tokenizer").model
    assert loaded.config == model.config
    assert all(torch.equal(a, loaded.state_dict()[key]) for key, a in model.state_dict().items())
