"""FAR: oracles 10 and 11 of GloTok's specification, its objective, its recipe, and images from it."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import recipe
from ar_core.sampling import guide
from ar_core.training import read_run_config, run_recipe
from ar_vision.backbones.far.config import FarConfig
from ar_vision.backbones.far.model import Far
from ar_vision.backbones.far.objective import FarObjective
from ar_vision.backbones.far.train import held_out_nll
from ar_vision.backbones.llamagen.config import LlamaGenTraining
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate, generate_images
from ar_vision.checkpoint import load_checkpoint, require_codes, save_checkpoint
from ar_vision.convert import convert
from ar_vision.decoding.raster import generate_raster
from ar_vision.evaluation.generation import open_generator
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.dual_vq.config import AdapterConfig, DualVqTokenizerConfig, ResidualConfig
from ar_vision.tokenizers.dual_vq.model import DualVqTokenizer
from ar_vision.tokenizers.dual_vq.paired import joined, parted

CONFIG = FarConfig(layers=2, head_layers=2, heads=2, dim=32, vocab_sizes=(20, 6), grid=4, num_classes=5)
L = 16


def far(seed=0, **changes):
    model = Far(replace(CONFIG, **changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def pairs(count=3, seed=1):
    return torch.randint(120, (count, L), generator=torch.Generator().manual_seed(seed))


def tokenizer(visual=20, semantic=6):
    shape = AutoencoderConfig(
        channels=4, channel_multipliers=(1, 2), blocks_per_level=1, attention=False, latent_channels=4, norm_groups=2
    )
    model = DualVqTokenizer(
        DualVqTokenizerConfig(
            autoencoder=shape,
            grid=4,
            visual_codes=visual,
            semantic_codes=semantic,
            code_dim=4,
            adapter=AdapterConfig(layers=1, heads=2),
            residual=ResidualConfig(width=8, heads=2),
        )
    )
    model.initialize(torch.Generator().manual_seed(0))
    return model.eval()


def logits_of(model, condition, codes):
    hidden = model.teacher_forced(condition, codes)
    first, second = model.predictions(hidden, codes)
    return model.head.first_output(first), model.head.second_output(second)


@pytest.mark.parametrize("scale", [1.0, 2.5])
@torch.no_grad()
def test_oracle_11_cached_logits_equal_teacher_forced_ones(scale):
    """Oracle 11, the two places of the head included; the second code's logits are those behind the first that was drawn."""
    model, codes = far(), pairs()
    condition = class_condition(model, [0, 3, 4])
    wanted, seen = parted(codes, 6), ([], [])

    def force(place, logits, generators):
        which = len(seen[0]) > len(seen[1])
        seen[which].append(logits)
        return wanted[which][:, place : place + 1]

    drawn = generate_raster(model, condition, force, guidance=(scale,) * L, width=4)
    assert torch.equal(drawn.codes, codes)
    given, null = (logits_of(model, one, codes) for one in (condition.given, condition.null))
    for found, with_class, without in zip(seen, given, null):
        expected = with_class if scale == 1 else guide(with_class, without, scale)
        torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_code_depends_on_nothing_behind_it():
    model, codes = far(), pairs()
    condition = class_condition(model, [0, 3, 4]).given
    first, second = logits_of(model, condition, codes)
    changed = codes.clone()
    changed[:, 9] = joined(parted(codes, 6)[0][:, 9], (parted(codes, 6)[1][:, 9] + 1) % 6, 6)
    other_first, other_second = logits_of(model, condition, changed)
    torch.testing.assert_close(other_first[:, :10], first[:, :10], atol=1e-6, rtol=0)
    torch.testing.assert_close(other_second[:, :10], second[:, :10], atol=1e-6, rtol=0)
    assert not torch.allclose(other_first[:, 10:], first[:, 10:])
    changed[:, 9] = joined((parted(codes, 6)[0][:, 9] + 1) % 20, parted(codes, 6)[1][:, 9], 6)
    other_first, other_second = logits_of(model, condition, changed)
    torch.testing.assert_close(other_first[:, :10], first[:, :10], atol=1e-6, rtol=0)
    assert not torch.allclose(other_second[:, 9], second[:, 9])


def prepared(objective, count=3):
    codes = pairs(count)
    batch = [{"index": n, "codes": codes[n], "label": n % 5} for n in range(count)]
    return objective.prepare(batch, SampleRng(0))


def test_oracle_10_uniform_logits_lose_the_mean_of_both_logarithms():
    """Oracle 10: heads of unequal sizes."""
    model = Far(CONFIG)
    model.initialize(torch.Generator().manual_seed(0))
    assert model.head.first_output.weight.shape[0] == 20
    assert model.head.second_output.weight.shape[0] == 6
    objective = FarObjective(CONFIG, LlamaGenTraining())
    one = prepared(objective)
    found = objective.sums({"model": model}, one)
    loss = sum(objective.coefficients[term] * found[term] / one.weights[term] for term in objective.coefficients)
    assert float(loss.detach()) == pytest.approx((math.log(20) + math.log(6)) / 2, rel=1e-5)


def test_the_loss_is_that_of_plain_cross_entropies_and_reaches_all_weights():
    model = far().train()
    model = Far(replace(CONFIG, token_dropout=0.0, residual_dropout=0.0, ffn_dropout=0.0))
    model.load_state_dict(far().state_dict())
    objective = FarObjective(CONFIG, LlamaGenTraining(condition_dropout=0.0))
    one = prepared(objective)
    found = objective.sums({"model": model}, one)
    codes = one.tensors["codes"]
    logits = logits_of(model, model.condition(one.tensors["classes"]), codes)
    for term, given, wanted in zip(objective.coefficients, logits, parted(codes, 6)):
        expected = torch.nn.functional.cross_entropy(given.flatten(0, 1), wanted.flatten(), reduction="sum")
        torch.testing.assert_close(found[term], expected, rtol=1e-5, atol=1e-4)
    sum(found.values()).backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is None} == set()


@torch.no_grad()
def test_images_depend_on_their_own_seed_and_come_out_of_the_tokenizer(tmp_path):
    model, coder = far(), tokenizer()
    options = LlamaGenOptions(guidance=2.0)
    together = generate_images(model, coder, class_condition(model, [1, 2]), options, seed=[7, 8])
    alone = generate_images(model, coder, class_condition(model, [2]), options, seed=[8])
    assert together.images.shape == (2, 3, 8, 8)
    assert torch.equal(together.codes[0][1], alone.codes[0][0])
    torch.testing.assert_close(together.images[1], alone.images[0], atol=1e-5, rtol=0)
    assert together.stats.forwards.total() == L
    assert int(together.codes[0].max()) < 120
    save_checkpoint(tmp_path / "far", model)
    save_checkpoint(tmp_path / "dual", coder)
    opened = open_generator(str(tmp_path / "far"), str(tmp_path / "dual"), {"guidance": 2.0})
    torch.testing.assert_close(opened.sample([1, 2], [7, 8]).images, together.images, atol=1e-5, rtol=0)


@torch.no_grad()
def test_greedy_codes_are_the_most_likely_ones():
    model = far()
    condition = class_condition(model, [0, 1])
    drawn = generate(model, condition, LlamaGenOptions(temperature=0)).codes
    first, second = logits_of(model, condition.given, drawn)
    assert torch.equal(joined(first.argmax(-1), second.argmax(-1), 6), drawn)


def test_another_split_of_the_codes_is_refused_though_there_are_as_many_pairs(tmp_path):
    with pytest.raises(CheckpointError, match="vocab_sizes"):
        require_codes(far(), tokenizer(visual=6, semantic=20))
    require_codes(far(), tokenizer())
    with pytest.raises(CheckpointError, match="no published weights"):
        convert("far", tmp_path / "x.pt", tmp_path / "out")


def test_published_sizes_have_the_published_number_of_parameters():
    """FQGAN's tables: 415 and 898 million; the shapes that the papers leave open make up the rest."""
    for name, millions in (("B", 415), ("L", 898)):
        with torch.device("meta"):
            model = Far(FarConfig.of_size(name, vocab_sizes=(16384, 16384)))
        count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        assert count == pytest.approx(millions, rel=0.02)
    with pytest.raises(ConfigError, match="no size"):
        FarConfig.of_size("XXL")
    with pytest.raises(ConfigError, match="one a codebook"):
        FarConfig(vocab_sizes=(4, 4, 4))


def test_the_recipe_learns_and_its_checkpoint_comes_back(tmp_path):
    entries = [
        f"train.checkpoint_dir={tmp_path}",
        "train.steps=40",
        "train.eval_every=40",
        "train.device=cpu",
        "evaluation.images=32",
        "model.dim=32",
        "model.init_std=0.17",
    ]
    result = run_recipe(recipe("far"), read_run_config(recipe("far"), "tiny", entries))
    assert result.losses[0] == pytest.approx((math.log(12) + math.log(8)) / 2, rel=1e-4)
    assert result.evaluation["held_out_nll"] < 0.8 * result.losses[0]
    model = load_checkpoint(tmp_path / "final", "generator").model
    sample = {"index": 0, "codes": torch.zeros(16, dtype=torch.int64), "label": 0}
    assert held_out_nll(model, [sample]).keys() == {"held_out_nll", "held_out_first_code", "held_out_second_code"}


def test_stored_codes_need_their_tokenizer():
    with pytest.raises(ConfigError, match="give tokenizer"):
        read_run_config(recipe("far"), "cifar10", ["tokenizer=null"])
