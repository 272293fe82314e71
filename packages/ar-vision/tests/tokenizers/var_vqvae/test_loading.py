import dataclasses

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_vision.checkpoint import load_checkpoint, save_checkpoint
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.published_autoencoder import autoencoder_shape
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.loading import from_published, to_published
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer

AUTOENCODER = AutoencoderConfig(8, (1, 2), 1, True, 6, norm_groups=8)
CONFIGS = {
    "shared": VarTokenizerConfig(AUTOENCODER, 20, num_phis=3),
    "one": VarTokenizerConfig(AUTOENCODER, 20, num_phis=1),
    "per scale": VarTokenizerConfig(AUTOENCODER, 20, num_phis=5, phi_per_scale=True),
    "no attention": VarTokenizerConfig(dataclasses.replace(AUTOENCODER, attention=False), 20, quant_kernel=1),
}


def published(config=CONFIGS["shared"]):
    model = VarTokenizer(config)
    model.initialize(torch.Generator().manual_seed(0))
    return model, {name: tensor.clone() for name, tensor in to_published(model).items()}


@pytest.mark.golden
def test_names_and_shapes_are_the_published_ones(golden_var_tokenizer, published_shapes):
    assert {name: tuple(t.shape) for name, t in to_published(golden_var_tokenizer).items()} == published_shapes(
        "var_vqvae"
    )
    assert golden_var_tokenizer.config == VarTokenizerConfig(AutoencoderConfig(32, latent_channels=8), vocab_size=32)


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_and_shape_survive_the_published_layout(name):
    model, tensors = published(CONFIGS[name])
    tensors["quantize.ema_vocab_hit_SV"] = torch.zeros(7, 3)
    loaded = from_published(tensors, norm_groups=8)
    assert loaded.config == model.config
    assert all(torch.equal(a, loaded.state_dict()[key]) for key, a in model.state_dict().items())
    assert not loaded.training


def test_the_published_sizes_are_the_default():
    with torch.device("meta"):
        model = VarTokenizer(VarTokenizerConfig())
        tensors = to_published(model)
        assert autoencoder_shape(tensors) == model.config.autoencoder
    assert (model.downsampling, model.code_dim, model.vocab_size) == (16, 32, 4096)
    assert tensors["quantize.quant_resi.qresi_ls.3.weight"].shape == (32, 32, 3, 3)


@pytest.mark.parametrize(
    "key",
    ["encoder.conv_in.weight", "encoder.down.0.block.0.conv1.weight", "encoder.down.1.block.0.nin_shortcut.bias",
     "decoder.up.1.attn.1.qkv.weight", "decoder.mid.attn_1.proj_out.bias", "quantize.embedding.weight",
     "quantize.quant_resi.qresi_ls.1.weight", "quant_conv.weight", "post_quant_conv.bias"],
)  # fmt: skip
def test_missing_and_renamed_keys_are_named(key):
    _, tensors = published()
    tensor = tensors.pop(key)
    before = key.split("0")[0]
    with pytest.raises(CheckpointError, match="lacks") as raised:
        from_published(tensors, norm_groups=8)
    assert before in str(raised.value)
    tensors[f"{key}_x"] = tensor
    with pytest.raises(CheckpointError) as raised:
        from_published(tensors, norm_groups=8)
    assert before in str(raised.value)


def test_unexpected_and_misshapen_keys_are_named():
    _, tensors = published()
    with pytest.raises(CheckpointError, match=r"quantize\.new"):
        from_published(tensors | {"quantize.new": torch.zeros(2)}, norm_groups=8)
    with pytest.raises(CheckpointError, match=r"post_quant_conv.bias \[5\] instead of \[6\]"):
        from_published(tensors | {"post_quant_conv.bias": torch.zeros(5)}, norm_groups=8)
    with pytest.raises(CheckpointError, match=r"'quantize\.embedding\.weight' has shape"):
        from_published(tensors | {"quantize.embedding.weight": torch.zeros(5)}, norm_groups=8)
    without = {name: tensor for name, tensor in tensors.items() if "quant_resi" not in name}
    with pytest.raises(CheckpointError, match=r"every key under 'quantize\.quant_resi'"):
        from_published(without, norm_groups=8)
    with pytest.raises(CheckpointError, match="norm_groups 32 do not divide"):
        from_published(tensors)


def test_native_checkpoints_bring_the_tokenizer_back(tmp_path):
    model, _ = published(CONFIGS["per scale"])
    save_checkpoint(tmp_path, model)
    loaded = load_checkpoint(tmp_path, "tokenizer").model
    assert loaded.config == model.config
    assert all(torch.equal(a, loaded.state_dict()[key]) for key, a in model.state_dict().items())
