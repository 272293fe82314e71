import copy

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError, DataError
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from safetensors.torch import load_file

SQUARE, RECTANGULAR = ScaleSchedule.square(1, 2, 3, 4), ScaleSchedule(((1, 1), (2, 3), (3, 4), (4, 6)))


@pytest.fixture
def recorded(golden_dir):
    return load_file(golden_dir / "vision_a" / "var_quantizer.safetensors")


@pytest.fixture
def tokenizer(tiny_autoencoder, generator):
    made = VarTokenizer(VarTokenizerConfig(tiny_autoencoder, vocab_size=40))
    made.initialize(generator)
    return made


def flat(inputs):
    return torch.cat([features.flatten(2).transpose(1, 2) for features in inputs], dim=1)


@pytest.mark.golden
@pytest.mark.parametrize(("prefix", "schedule"), [("", SQUARE), ("rect_", RECTANGULAR)])
def test_codes_and_accumulated_features_are_the_recorded_ones(prefix, schedule, recorded, golden_var_tokenizer):
    codes = golden_var_tokenizer.quantize(recorded[f"{prefix}f"], schedule)
    history = golden_var_tokenizer.history(len(codes[0]), schedule)
    for k, of_scale in enumerate(codes):
        assert torch.equal(of_scale, recorded[f"{prefix}idx_{k}"].long()), k
        history.add(of_scale)
        assert (history.features - recorded[f"{prefix}fhat_{k}"]).abs().max() < 1e-5
        if not prefix:
            assert (history.features - recorded[f"embed_to_fhat_{k}"]).abs().max() < 1e-5
            assert (history.features - recorded[f"ar_fhat_{k}"]).abs().max() < 1e-5
            if k < 3:
                assert (history.next_input() - recorded[f"ar_next_{k}"]).abs().max() < 1e-5


@pytest.mark.golden
def test_teacher_inputs_are_the_recorded_ones(recorded, golden_var_tokenizer):
    codes = [recorded[f"idx_{k}"].long() for k in range(4)]
    inputs = teacher_inputs(golden_var_tokenizer.history(2, SQUARE), codes)
    assert (flat(inputs) - recorded["x_in"]).abs().max() < 1e-5


@pytest.mark.golden
def test_codes_by_cosine_are_the_recorded_ones(recorded, golden_var_tokenizer):
    tokenizer = copy.deepcopy(golden_var_tokenizer)
    tokenizer.codebook.metric = "cosine"
    for k, codes in enumerate(tokenizer.quantize(recorded["f"], SQUARE)):
        assert torch.equal(codes, recorded[f"znorm_idx_{k}"].long()), k


@pytest.mark.golden
def test_the_training_loss_is_the_recorded_one(recorded, golden_var_tokenizer, monkeypatch):
    monkeypatch.setattr(golden_var_tokenizer, "encode", lambda images: images)
    monkeypatch.setattr(golden_var_tokenizer, "decode", lambda features: features)
    output = golden_var_tokenizer.train_forward(recorded["f"], SQUARE)
    loss = (output.code_loss + 0.25 * output.commit_loss) / 2
    assert loss.item() == pytest.approx(recorded["train_vq_loss"].item(), abs=1e-5)
    assert (output.reconstruction - recorded["train_fhat"]).abs().max() < 1e-5


@pytest.mark.golden
def test_the_decoded_image_is_the_recorded_one(golden_dir, golden_var_tokenizer):
    case = load_file(golden_dir / "vision_a" / "var_transformer_d2.safetensors")
    image = golden_var_tokenizer.decode(case["greedy_cfg1.5.fhat"]).clamp(-1, 1)
    assert ((image + 1) / 2 - case["greedy_cfg1.5.img"]).abs().max() < 1e-3


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("schedule", [ScaleSchedule.square(4), SQUARE, ScaleSchedule.square(1, 2, 3, 3, 4)])
def test_quantisation_by_its_definition(cosine, schedule, tiny_autoencoder, generator):
    tokenizer = VarTokenizer(VarTokenizerConfig(tiny_autoencoder, vocab_size=40, cosine=cosine)).double()
    tokenizer.initialize(generator)
    features = torch.randn(2, 8, 4, 4, dtype=torch.float64, generator=generator)
    rest, table = features.clone(), tokenizer.codebook.weight
    ticks = torch.linspace(1 / 12, 11 / 12, 4, dtype=torch.float64)
    codes = tokenizer.quantize(features, schedule)
    for k, size in enumerate(schedule.sizes):
        z = F.adaptive_avg_pool2d(rest, size).permute(0, 2, 3, 1).reshape(2, -1, 8)
        score = F.cosine_similarity(z[:, :, None], table, dim=-1) if cosine else -torch.cdist(z, table[None])
        assert torch.equal(codes[k], score.argmax(-1))
        u = table[codes[k]].reshape(2, *size, 8).permute(0, 3, 1, 2)
        if k < schedule.count - 1:
            u = F.interpolate(u, size=(4, 4), mode="bicubic", align_corners=False)
        phi = tokenizer.phis[(ticks - (k / (schedule.count - 1) if schedule.count > 1 else 1)).abs().argmin()]
        rest = rest - 0.5 * u - 0.5 * F.conv2d(u, phi.weight, phi.bias, padding=1)
    history = tokenizer.history(2, schedule)
    for of_scale in codes:
        history.add(of_scale)
    assert (history.features - (features - rest)).abs().max() < 1e-12


def test_training_and_decoding_see_the_same(tokenizer, generator):
    images = torch.rand(3, 3, 16, 16, generator=generator) * 2 - 1
    output = tokenizer.train_forward(images, SQUARE)
    features = tokenizer.encode(images)
    codes = tokenizer.quantize(features, SQUARE)
    assert all(torch.equal(a, b) for a, b in zip(output.codes, codes))
    history = tokenizer.history(3, SQUARE)
    for of_scale in codes:
        history.add(of_scale)
    assert (output.reconstruction - tokenizer.decode(history.features)).abs().max() < 1e-5
    assert output.used.sum() == output.vectors.shape[0] == 3 * SQUARE.total
    assert torch.equal(output.used, torch.bincount(torch.cat(codes, 1).flatten(), minlength=40))
    assert torch.equal(tokenizer.codebook.nearest(output.vectors[:3]), codes[0].flatten())


def test_the_sum_of_all_scales_is_exactly_what_is_decoded(tokenizer, generator):
    features = torch.randn(2, 8, 4, 4, generator=generator)
    codes, history = tokenizer.quantize(features, SQUARE), tokenizer.history(2, SQUARE)
    total = torch.zeros_like(features)
    for k, of_scale in enumerate(codes):
        history.add(of_scale)
        total = total + tokenizer.contribution(of_scale, k, SQUARE)
        assert torch.equal(history.features, total)
        if k < SQUARE.count - 1:
            assert torch.equal(history.next_input(), F.adaptive_avg_pool2d(total, SQUARE.sizes[k + 1]))


def test_losses_of_a_batch_are_the_sum_of_its_images(tokenizer, generator):
    images = torch.rand(3, 3, 16, 16, generator=generator) * 2 - 1
    together = tokenizer.train_forward(images, SQUARE)
    alone = [tokenizer.train_forward(image[None], SQUARE) for image in images]
    for name in ("code_loss", "commit_loss"):
        total = sum(getattr(output, name) for output in alone)
        assert getattr(together, name).item() == pytest.approx(total.item(), rel=1e-5)


def test_each_loss_trains_its_part(tokenizer, generator):
    images = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
    encoder, table, phi = tokenizer.encoder.conv_in.weight, tokenizer.codebook.weight, tokenizer.phis[3].weight

    def reached(loss):
        tokenizer.zero_grad()
        loss(tokenizer.train_forward(images, SQUARE)).backward()
        return [p.grad is not None and bool(p.grad.any()) for p in (encoder, table, phi)]

    assert reached(lambda output: output.code_loss) == [False, True, True]
    assert reached(lambda output: output.commit_loss) == [True, False, False]
    assert reached(lambda output: output.reconstruction.square().sum()) == [True, False, False]


def test_the_gradient_goes_straight_through(tokenizer, monkeypatch, generator):
    monkeypatch.setattr(tokenizer, "encode", lambda images: images)
    monkeypatch.setattr(tokenizer, "decode", lambda features: features)
    features = torch.randn(2, 8, 4, 4, generator=generator, requires_grad=True)
    weight = torch.randn(2, 8, 4, 4, generator=generator)
    (tokenizer.train_forward(features, SQUARE).reconstruction * weight).sum().backward()
    assert torch.equal(features.grad, weight)


def test_scales_of_their_own_phi_need_their_schedule(tiny_autoencoder):
    tokenizer = VarTokenizer(VarTokenizerConfig(tiny_autoencoder, vocab_size=8, num_phis=3, phi_per_scale=True))
    features = torch.zeros(1, 8, 4, 4)
    assert len(tokenizer.quantize(features, ScaleSchedule.square(1, 2, 4))) == 3
    with pytest.raises(ConfigError, match="has 4 scales and this tokenizer a phi for each of 3"):
        tokenizer.quantize(features, SQUARE)
    with pytest.raises(ConfigError, match="has 4 scales"):
        tokenizer.history(1, SQUARE)


def test_schedules_and_codes_that_do_not_fit(tokenizer):
    with pytest.raises(ConfigError, match="features are 5x4 and the schedule 1,2,3,4 ends at 4x4"):
        tokenizer.quantize(torch.zeros(1, 8, 5, 4), SQUARE)
    history = tokenizer.history(1, SQUARE)
    with pytest.raises(DataError, match="scale of 1x1"):
        history.add(torch.zeros(1, 4, dtype=torch.long))


def test_sixteen_bit_weights_accumulate_in_float32(tokenizer, generator):
    tokenizer = tokenizer.to(torch.bfloat16)
    output = tokenizer.train_forward(torch.rand(1, 3, 16, 16, generator=generator), SQUARE)
    assert (output.reconstruction.dtype, output.code_loss.dtype) == (torch.bfloat16, torch.float32)
    history = tokenizer.history(1, SQUARE)
    history.add(output.codes[0])
    assert history.next_input().dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "part"),
    [({"vocab_size": 0}, "vocab_size is 0"), ({"num_phis": 0}, "num_phis is 0"), ({"phi_ratio": 1.5}, "phi_ratio is 1.5"),
     ({"quant_kernel": 2}, "must be odd")],
)  # fmt: skip
def test_what_is_no_shape(change, part):
    with pytest.raises(ConfigError, match=part):
        VarTokenizerConfig(**change)
