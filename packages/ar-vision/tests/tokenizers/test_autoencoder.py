import json
import math

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.io import KeyMap
from ar_vision.tokenizers.autoencoder import ConvDecoder, ConvEncoder, SpatialAttention, initialize_convolutions
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.published_autoencoder import LDM_RULES, autoencoder_shape
from torch import nn


def pair(config, generator, dtype=torch.float64):
    encoder, decoder = ConvEncoder(config).to(dtype), ConvDecoder(config).to(dtype)
    for part in (encoder, decoder):
        initialize_convolutions(part, generator)
    return encoder, decoder


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (1, 2, 2), (2, 1, 3, 1)])
def test_images_become_cells_and_come_back_in_size(attention, multipliers, generator):
    config = AutoencoderConfig(8, multipliers, 1, attention, 5, norm_groups=4)
    encoder, decoder = pair(config, generator)
    unit = config.downsampling
    images = torch.rand(2, 3, 3 * unit, 5 * unit, dtype=torch.float64, generator=generator)
    kept = images.clone()
    features = encoder(images)
    assert features.shape == (2, 5, 3, 5)
    assert decoder(features).shape == images.shape
    assert torch.equal(images, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_dtype_is_that_of_the_weights(dtype, tiny_autoencoder, generator):
    encoder, decoder = pair(tiny_autoencoder, generator, dtype)
    features = encoder(torch.rand(1, 3, 8, 8, generator=generator))
    assert features.dtype == dtype
    assert decoder(features).dtype == dtype


def test_rows_of_a_batch_do_not_meet(tiny_autoencoder, generator):
    encoder, decoder = pair(tiny_autoencoder, generator)
    images = torch.rand(3, 3, 8, 12, dtype=torch.float64, generator=generator)
    together = decoder(encoder(images))
    alone = torch.cat([decoder(encoder(image[None])) for image in images])
    assert (together - alone).abs().max() < 1e-12


def test_downsampling_pads_right_and_below_only(generator):
    level = ConvEncoder(AutoencoderConfig(4, (1, 1), 1, False, 4, norm_groups=4)).levels[0].double()
    nn.init.zeros_(level.blocks[0].conv2.weight)
    nn.init.zeros_(level.blocks[0].conv2.bias)
    x = torch.rand(1, 4, 6, 4, dtype=torch.float64, generator=generator)
    weight, bias = level.downsample.weight, level.downsample.bias
    padded = torch.zeros(1, 4, 7, 5, dtype=torch.float64)
    padded[:, :, :6, :4] = x
    expected = torch.stack(
        [
            torch.stack(
                [
                    torch.einsum("bchw,ochw->bo", padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], weight) + bias
                    for j in range(2)
                ],
                -1,
            )
            for i in range(3)
        ],
        -2,
    )
    assert (level(x) - expected).abs().max() < 1e-12


def test_attention_is_one_head_over_all_cells(tiny_autoencoder, generator):
    layer = SpatialAttention(tiny_autoencoder, 16).double()
    x = torch.randn(2, 16, 3, 2, dtype=torch.float64, generator=generator)
    normed = F.group_norm(x, 4, layer.norm.weight, layer.norm.bias, 1e-6).flatten(2)
    q, k, v = (
        torch.einsum("oc,bcn->bon", w, normed) + b[None, :, None]
        for w, b in zip(layer.qkv.weight[:, :, 0, 0].split(16), layer.qkv.bias.split(16))
    )
    seen = torch.einsum("bcm,bnm->bcn", v, (torch.einsum("bcn,bcm->bnm", q, k) / math.sqrt(16)).softmax(-1))
    expected = x + layer.out(seen.reshape(x.shape))
    assert (layer(x) - expected).abs().max() < 1e-12


def test_weights_come_from_the_generator_alone(tiny_autoencoder):
    first, second = ConvEncoder(tiny_autoencoder), ConvEncoder(tiny_autoencoder)
    before = torch.get_rng_state()
    initialize_convolutions(first, torch.Generator().manual_seed(5))
    initialize_convolutions(second, torch.Generator().manual_seed(5))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    initialize_convolutions(second, torch.Generator().manual_seed(6))
    assert not torch.equal(first.conv_in.weight, second.conv_in.weight)
    weight = first.levels[1].blocks[0].conv2.weight.detach()
    assert weight.abs().max() <= 1 / math.sqrt(weight[0].numel())
    assert weight.std().item() == pytest.approx(1 / math.sqrt(3 * weight[0].numel()), rel=0.1)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 3, 9, 8), torch.float32), ((1, 3, 8, 10), torch.float32), ((1, 1, 8, 8), torch.float32),
     ((3, 8, 8), torch.float32), ((1, 3, 0, 8), torch.float32), ((1, 3, 8, 8), torch.uint8)],
)  # fmt: skip
def test_what_are_no_images(shape, dtype, tiny_autoencoder):
    with pytest.raises(DataError, match=r"multiples of 4: resize or crop|floating-point values"):
        ConvEncoder(tiny_autoencoder)(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize(
    ("change", "part"),
    [({"channels": 0}, "channels is 0"), ({"channel_multipliers": ()}, "one for every level"),
     ({"channel_multipliers": (1, 0)}, "one for every level"), ({"blocks_per_level": 0}, "blocks_per_level"),
     ({"channels": 48}, "norm_groups 32 do not divide the width 48")],
)  # fmt: skip
def test_what_is_no_shape(change, part):
    with pytest.raises(ConfigError, match=part):
        AutoencoderConfig(**change)


def test_small_models_have_about_a_million_parameters():
    config = AutoencoderConfig(32, (1, 2, 2), 1, True, 16)
    with torch.device("meta"):
        parameters = sum(p.numel() for part in (ConvEncoder(config), ConvDecoder(config)) for p in part.parameters())
    assert 0.8e6 < parameters < 1.2e6


@pytest.mark.golden
@pytest.mark.parametrize("multipliers", [(1, 2, 4, 4, 4), (1, 2, 4, 4)])
def test_the_autoencoder_of_infinity_is_this_one_without_attention(golden_dir, multipliers):
    recorded = json.loads((golden_dir / "vision_b" / "infinity_vae_state_dict_shapes.json").read_text())
    shapes = next(
        list_ for name, list_ in recorded.items() if name.startswith("d16" if len(multipliers) == 5 else "d14")
    )
    plain = {
        name.replace(".conv.", ".", 1) if not name.endswith(("sample.conv.conv.weight", "sample.conv.conv.bias"))
        else name.replace(".conv.conv.", ".conv."): shape
        for name, shape in ((name.replace(".norm.", "."), shape) for name, shape in shapes.items())
        if "lfq" not in name
    }  # fmt: skip
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in plain.items()}
        config = autoencoder_shape(published)
        assert config == AutoencoderConfig(128, multipliers, 2, False, config.latent_channels)
        model = nn.ModuleDict({"encoder": ConvEncoder(config), "decoder": ConvDecoder(config)})
        ours = KeyMap(LDM_RULES).to_published(model.state_dict())
    assert {name: list(tensor.shape) for name, tensor in ours.items()} == plain


def test_uneven_widths_are_no_autoencoder():
    tensors = {
        "encoder.conv_in.weight": torch.zeros(8, 3, 3, 3),
        "encoder.down.0.block.0.conv1.weight": torch.zeros(12, 8, 3, 3),
    }
    with pytest.raises(CheckpointError, match=r"'encoder.down' are \[12\] wide and 'encoder.conv_in.weight' 8"):
        autoencoder_shape(tensors)


def test_weights_of_another_layout_are_told_by_the_first_key_they_lack():
    with pytest.raises(CheckpointError, match=r"lacks 'encoder\.down\.0\.block\.0\.conv1\.weight'"):
        autoencoder_shape({"encoder.conv_in.weight": torch.zeros(4, 3, 3, 3)})
