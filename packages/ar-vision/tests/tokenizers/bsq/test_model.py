"""The tokenizer as a whole: sizes, gradients, losses, loading."""

import json
import math
from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_vision.checkpoint import load_checkpoint
from ar_vision.convert import convert
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.config import PRESETS, BsqTokenizerConfig
from ar_vision.tokenizers.bsq.entropy import commitment, entropy_penalty
from ar_vision.tokenizers.bsq.loading import BUFFERS, from_published, to_published
from ar_vision.tokenizers.bsq.model import BsqTokenizer

SCHEDULE = ScaleSchedule.square(1, 2, 4)


@pytest.fixture(params=[False, True], ids=["cell", "patchify"])
def tokenizer(request, tiny_autoencoder, generator):
    model = BsqTokenizer(BsqTokenizerConfig(replace(tiny_autoencoder, attention=False), patchify=request.param))
    model.initialize(generator)
    return model


def _images(tokenizer, batch=2):
    side = 4 * tokenizer.downsampling
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_sizes(tokenizer):
    side = tokenizer.config.side
    assert (tokenizer.bits, tokenizer.code_dim, tokenizer.downsampling) == (8 * side**2, 8 * side**2, 4 * side)
    features = tokenizer.encode(_images(tokenizer))
    assert features.shape == (2, 8, 4 * side, 4 * side)
    bits = tokenizer.quantize(features, SCHEDULE)
    assert [tuple(b.shape) for b in bits] == [(2, length, tokenizer.bits) for length in (1, 4, 16)]
    history = tokenizer.history(2, SCHEDULE)
    for scale in bits:
        history.add(scale)
    assert tokenizer.decode(history.features).shape == _images(tokenizer).shape


def test_training_reconstructs_from_the_bits_that_quantising_gives(tokenizer):
    images = _images(tokenizer)
    output = tokenizer.train_forward(images, SCHEDULE)
    bits = tokenizer.quantize(tokenizer.encode(images), SCHEDULE)
    assert all(torch.equal(a, b) for a, b in zip(output.codes, bits))
    history = tokenizer.history(2, SCHEDULE)
    for scale in bits:
        history.add(scale)
    torch.testing.assert_close(output.reconstruction, tokenizer.decode(history.features), atol=1e-4, rtol=0)
    cells = sum(SCHEDULE.lengths) * tokenizer.config.side**2 * 2
    assert output.vectors.shape == (cells, 8)
    torch.testing.assert_close(output.vectors.norm(dim=1), torch.ones(cells))
    side = tokenizer.config.side
    coarsest = torch.nn.functional.adaptive_avg_pool2d(tokenizer.encode(images), side)[0, :, 0, 0].detach()
    torch.testing.assert_close(output.vectors[0], coarsest / coarsest.norm(), atol=1e-5, rtol=0)
    assert output.used.view(-1, 2).sum(1).tolist() == [cells] * 8
    ones = torch.stack([b.unflatten(-1, (8, -1)).sum((0, 1, 3)) for b in output.codes]).sum(0)
    assert torch.equal(output.used[1::2], ones)


def test_gradients_reach_the_encoder_through_the_bits(tokenizer):
    output = tokenizer.train_forward(_images(tokenizer), SCHEDULE)
    for loss in (output.reconstruction.square().mean(), output.code_loss, output.commit_loss):
        (gradient,) = torch.autograd.grad(loss, [tokenizer.encoder.conv_in.weight], retain_graph=True)
        assert gradient.abs().max() > 0


def test_losses_of_a_batch_are_sums_over_its_images(tokenizer):
    images = _images(tokenizer)
    whole = tokenizer.train_forward(images, SCHEDULE)
    parts = [tokenizer.train_forward(image[None], SCHEDULE) for image in images]
    torch.testing.assert_close(whole.code_loss, sum(part.code_loss for part in parts), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole.commit_loss, sum(part.commit_loss for part in parts), atol=1e-5, rtol=1e-5)


def test_the_entropy_penalty_wants_bits_decided_and_balanced():
    d = 4
    corners = torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]]).T[None, :, :, None] / math.sqrt(d)
    decided = entropy_penalty(corners, sharpness=50.0, diversity=1.0)
    torch.testing.assert_close(decided, torch.tensor([-math.log(2)]), atol=1e-4, rtol=0)
    same = entropy_penalty(corners[:, :, :1].expand(1, d, 2, 1), sharpness=50.0, diversity=1.0)
    torch.testing.assert_close(same, torch.zeros(1), atol=1e-4, rtol=0)
    undecided = entropy_penalty(torch.zeros(1, d, 2, 1), sharpness=50.0, diversity=0.0)
    torch.testing.assert_close(undecided, torch.tensor([math.log(2)]))
    assert commitment(corners, corners).item() == 0
    torch.testing.assert_close(commitment(corners, -corners), torch.tensor([4.0]))


@pytest.mark.golden
@pytest.mark.parametrize(("case", "preset"), [("d16/d32/d64 stride16 (d=32 shown)", "d32"), ("d14 stride8 patchify (8B, NSARM)", "d14_patchify")])  # fmt: skip
def test_published_names_and_shapes(golden_dir, case, preset):
    listed = json.loads((golden_dir / "vision_b" / "infinity_vae_state_dict_shapes.json").read_text())[case]
    with torch.device("meta"):
        model = BsqTokenizer(PRESETS[preset])
    ours = {name: list(tensor.shape) for name, tensor in to_published(model).items()}
    assert ours == {name: shape for name, shape in listed.items() if name not in BUFFERS}
    assert (model.downsampling, model.bits) == (16, {"d32": 32, "d14_patchify": 56}[preset])


def _published(tokenizer, *, older=False):
    weights = {name: tensor.clone() for name, tensor in to_published(tokenizer).items()}
    if older:
        kinds = (".conv.weight", ".conv.bias", ".norm.weight", ".norm.bias")
        weights = {
            name.removesuffix(kind) + "." + kind.rpartition(".")[2]: tensor
            for name, tensor in weights.items()
            for kind in kinds
            if name.endswith(kind)
        }
    return weights | {buffer: 2 ** torch.arange(8) for buffer in BUFFERS}


@pytest.mark.parametrize("older", [False, True], ids=["present", "older"])
def test_published_layouts_load(tokenizer, older):
    weights = _published(tokenizer, older=older)
    loaded = from_published(weights, patchify=tokenizer.config.patchify, norm_groups=4)
    assert loaded.config.autoencoder == tokenizer.config.autoencoder
    images = _images(tokenizer)
    assert torch.equal(loaded.encode(images), tokenizer.encode(images))


def test_keys_that_do_not_fit_are_named(tokenizer):
    weights = _published(tokenizer)
    del weights["decoder.mid.block_1.norm1.norm.bias"]
    with pytest.raises(CheckpointError, match=r"lacks decoder\.mid\.block_1\.norm1\.norm\.bias"):
        from_published(weights, norm_groups=4)
    weights = _published(tokenizer) | {"encoder.surplus.conv.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"encoder\.surplus\.conv\.weight"):
        from_published(weights, norm_groups=4)


def test_an_entropy_setting_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="sharpness is -1"):
        BsqTokenizerConfig(sharpness=-1.0)


def test_autocast_does_not_reach_the_quantiser(tokenizer):
    side = tokenizer.config.side
    features = torch.randn(2, 8, 4 * side, 4 * side, generator=torch.Generator().manual_seed(0))
    plain = tokenizer.quantize(features, SCHEDULE)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(tokenizer.quantize(features, SCHEDULE), plain))


def test_a_published_file_converts(tmp_path, generator):
    shape = AutoencoderConfig(32, (1, 1, 1, 1), 1, attention=False, latent_channels=3)
    model = BsqTokenizer(BsqTokenizerConfig(shape, patchify=True))
    model.initialize(generator)
    weights = to_published(model) | {BUFFERS[0]: torch.ones(3), BUFFERS[1]: torch.ones(3)}
    torch.save({"vae": weights, "ema": {name: tensor * 2 for name, tensor in weights.items()}}, tmp_path / "vae.pth")
    convert("bsq", tmp_path / "vae.pth", tmp_path / "tokenizer")
    loaded = load_checkpoint(tmp_path / "tokenizer", "tokenizer").model
    assert loaded.config == model.config
    assert torch.equal(loaded.encoder.conv_in.weight, model.encoder.conv_in.weight)
