import json

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError, DataError
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from safetensors import safe_open
from safetensors.torch import load_file

ONE, MANY = ScaleSchedule.square(4), ScaleSchedule.square(1, 2, 3, 4)


@pytest.fixture
def tokenizer(tiny_autoencoder, generator):
    made = VqTokenizer(VqTokenizerConfig(tiny_autoencoder, vocab_size=40, code_dim=5))
    made.initialize(generator)
    return made


@pytest.mark.golden
def test_llamagen_codes_images_and_losses_are_the_recorded_ones(golden_dir, golden_llamagen_tokenizer):
    case = load_file(golden_dir / "vision_a" / "llamagen_vq16.safetensors")
    tokenizer = golden_llamagen_tokenizer
    features = tokenizer.encode(case["img"])
    assert (features - case["pre_quant"]).abs().max() < 1e-3
    (codes,) = tokenizer.quantize(features, ONE)
    assert torch.equal(codes, case["idx"].long())
    history = tokenizer.history(2, ONE)
    history.add(codes)
    assert (history.features - case["quant"]).abs().max() < 1e-5
    assert (tokenizer.decode(history.features) - case["decode_code"]).abs().max() < 1e-3
    output = tokenizer.train_forward(case["img"], ONE)
    assert (output.reconstruction - case["rec"]).abs().max() < 1e-3
    assert output.code_loss.item() / 2 == pytest.approx(case["train_vq_loss"].item(), abs=1e-5)
    assert 0.25 * output.commit_loss.item() / 2 == pytest.approx(case["train_commit_loss"].item(), abs=1e-5)


@pytest.mark.golden
def test_flexvar_inputs_and_images_are_the_recorded_ones(golden_dir, golden_flexvar_tokenizer):
    path = golden_dir / "vision_a" / "flexvar_transformer_d2.safetensors"
    case, tokenizer = load_file(path), golden_flexvar_tokenizer
    assert torch.equal(tokenizer.codebook.weight, case["w.quantize.embedding.weight"])
    for prefix, schedule in (("", MANY), ("alt_", _schedule_of(case["alt_gt_idx"].shape[1]))):
        codes = schedule.split(case[f"{prefix}gt_idx"].long())
        inputs = teacher_inputs(tokenizer.history(2, schedule), codes)
        rows = torch.cat([features.flatten(2).transpose(1, 2) for features in inputs], dim=1)
        assert (rows - case[f"{prefix}x_in"]).abs().max() < 1e-5, prefix
    with safe_open(path, "pt") as file:
        schedule = ScaleSchedule.square(*json.loads(file.metadata()["runs"])["greedy"]["kw"]["infer_patch_nums"])
    history = tokenizer.history(2, schedule)
    for k in range(schedule.count):
        history.add(case[f"greedy.idx_{k}"].long())
    assert (tokenizer.decode(history.features) - case["greedy.img"]).abs().max() < 1e-3


def _schedule_of(total):
    sides = {26: (1, 3, 4)}
    return ScaleSchedule.square(*sides[total])


def test_scales_are_independent_quantisations_of_the_image(tokenizer, generator):
    features = torch.randn(2, 5, 4, 4, generator=generator)
    codes = tokenizer.quantize(features, MANY)
    table = F.normalize(tokenizer.codebook.weight, dim=-1)
    for side, of_scale in zip((1, 2, 3, 4), codes):
        pooled = F.normalize(F.adaptive_avg_pool2d(features, side), dim=1).flatten(2)
        assert torch.equal(of_scale, torch.einsum("bcn,vc->bnv", pooled, table).argmax(-1))
        assert torch.equal(of_scale, tokenizer.quantize(features, ScaleSchedule.square(side))[0])


def test_resizing_and_the_convolution_in_front_may_be_exchanged(tokenizer, generator):
    latent = torch.randn(2, 8, 6, 4, generator=generator)
    after = F.interpolate(tokenizer.quant_conv(latent), size=(3, 3), mode="area")
    before = tokenizer.quant_conv(F.interpolate(latent, size=(3, 3), mode="area"))
    assert (after - before).abs().max() < 1e-5


def test_looked_up_codes_quantise_to_themselves(tokenizer, generator):
    codes = torch.randint(40, (3, 16), generator=generator)
    history = tokenizer.history(3, ONE)
    history.add(codes)
    assert torch.equal(tokenizer.quantize(history.features, ONE)[0], codes)


def test_only_the_previous_scale_is_fed(tokenizer, generator):
    codes = [torch.randint(40, (1, length), generator=generator) for length in MANY.lengths]
    inputs = teacher_inputs(tokenizer.history(1, MANY), codes)
    table = F.normalize(tokenizer.codebook.weight, dim=-1)
    for k, side in enumerate((2, 3, 4)):
        previous = table[codes[k]].transpose(1, 2).reshape(1, 5, k + 1, k + 1)
        assert torch.allclose(
            inputs[k], F.interpolate(previous, size=(side, side), mode="bicubic", align_corners=False)
        )
    changed = [(codes[0] + 1) % 40, *codes[1:]]
    others = teacher_inputs(tokenizer.history(1, MANY), changed)
    assert [torch.equal(a, b) for a, b in zip(inputs, others)] == [False, True, True]


def test_each_loss_trains_its_part(tokenizer, generator):
    images = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1

    def reached(loss):
        tokenizer.zero_grad()
        loss(tokenizer.train_forward(images, MANY)).backward()
        parts = tokenizer.encoder.conv_in.weight, tokenizer.codebook.weight
        return [p.grad is not None and bool(p.grad.any()) for p in parts]

    assert reached(lambda output: output.code_loss) == [False, True]
    assert reached(lambda output: output.commit_loss) == [True, False]
    assert reached(lambda output: output.reconstruction.square().sum()) == [True, False]


def test_losses_are_means_over_scales_and_sums_over_images(tokenizer, generator):
    images = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
    features = F.normalize(tokenizer.encode(images), dim=1)
    output = tokenizer.train_forward(images, ONE)
    code = F.normalize(tokenizer.codebook.weight, dim=-1)[output.codes[0]].transpose(1, 2).reshape(2, 5, 4, 4)
    assert output.code_loss.item() == pytest.approx(2 * F.mse_loss(code, features).item(), rel=1e-5)
    singles = [tokenizer.train_forward(images, ScaleSchedule.square(side)) for side in (1, 2, 3, 4)]
    several = tokenizer.train_forward(images, MANY)
    assert several.commit_loss.item() == pytest.approx(sum(s.commit_loss.item() for s in singles) / 4, rel=1e-5)
    assert several.vectors.shape == (2 * MANY.total, 5)
    assert several.used.sum() == 2 * MANY.total


def test_a_coarse_scale_is_decoded_at_its_own_size(tokenizer):
    output = tokenizer.train_forward(torch.zeros(1, 3, 16, 16), ScaleSchedule.square(2))
    assert output.reconstruction.shape == (1, 3, 8, 8)


def test_euclidean_codes_keep_their_length(tiny_autoencoder, generator):
    tokenizer = VqTokenizer(VqTokenizerConfig(tiny_autoencoder, vocab_size=40, code_dim=5, normalized=False))
    tokenizer.initialize(generator)
    assert tokenizer.codebook.weight.abs().max() <= 1 / 40
    features = 0.02 * torch.randn(2, 5, 4, 4, generator=generator)
    (codes,) = tokenizer.quantize(features, ONE)
    expected = torch.cdist(features.flatten(2).transpose(1, 2), tokenizer.codebook.weight[None]).argmin(-1)
    assert torch.equal(codes, expected)
    history = tokenizer.history(2, ONE)
    history.add(codes)
    assert torch.equal(history.features.flatten(2).transpose(1, 2), tokenizer.codebook.weight[codes])


def test_fresh_unit_codes_have_unit_length(tokenizer):
    assert torch.allclose(tokenizer.codebook.weight.norm(dim=-1), torch.ones(40))


def test_codes_of_another_scale_are_refused(tokenizer):
    history = tokenizer.history(1, MANY)
    history.add(torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(DataError, match="scale of 2x2"):
        history.add(torch.zeros(1, 9, dtype=torch.long))


def test_what_is_no_shape_is_refused():
    with pytest.raises(ConfigError, match="code_dim is 0"):
        VqTokenizerConfig(code_dim=0)
