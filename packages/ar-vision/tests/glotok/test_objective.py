"""GloTok's objective and its recipe: oracle 6, any split of a step, resume, and what is refused."""

import json

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.checkpoint import load_checkpoint
from ar_vision.glotok.config import GlotokConfig
from ar_vision.glotok.histogram import log_histogram, log_profile
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.objective import GlotokObjective
from ar_vision.glotok.teacher.profile import Profile, save_profile
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.dual_vq.config import AdapterConfig, DualVqTokenizerConfig, ResidualConfig
from ar_vision.tokenizers.dual_vq.model import DualVqTokenizer

BINS = HistogramConfig()
SMALL = "{channels: 8, channel_multipliers: [1, 2, 2], norm_groups: 4}"


def profile():
    vectors = torch.randn(60, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Profile(tuple(log_profile(log_histogram(vectors, BINS)).tolist()), BINS, {"kind": "drawn", "vectors": 60})


def objective(**changes):
    chosen = {"scales": (4,), "perceptual_weight": 0, "adversarial_weight": 0, "usage": None, "teacher": "given"}
    config = GlotokConfig(**chosen | changes)
    teacher = profile().logarithms if config.histogram_weight else None
    return GlotokObjective(config, batch_size=4, codebooks=(), teacher=teacher)


def tokenizer():
    shape = AutoencoderConfig(
        channels=4, channel_multipliers=(1, 2), blocks_per_level=1, attention=False, latent_channels=4, norm_groups=2
    )
    model = DualVqTokenizer(
        DualVqTokenizerConfig(
            autoencoder=shape,
            grid=4,
            visual_codes=12,
            semantic_codes=16,
            code_dim=4,
            adapter=AdapterConfig(layers=1, heads=2),
            residual=ResidualConfig(width=8, heads=2),
        )
    )
    model.initialize(torch.Generator().manual_seed(0))
    return model


def batch(first, count=4):
    return [
        {
            "index": index,
            "image": torch.randint(0, 256, (3, 8, 8), generator=SampleRng(0).row(index, "x")).to(torch.uint8),
        }
        for index in range(first, first + count)
    ]


def test_oracle_6_the_histogram_loss_reaches_the_semantic_codebook_alone():
    """Oracle 6, in the objective."""
    model, science = tokenizer(), objective()
    found = science.sums({"tokenizer": model}, science.prepare(batch(0), SampleRng(0)))
    found["histogram"].backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {"codebooks.semantic.weight"}
    codes = model.codebooks["semantic"].weight
    assert float((codes.grad.double() * codes.double()).sum(-1).abs().max()) < 1e-7


def test_any_split_of_a_step_has_the_same_loss():
    model, science = tokenizer(), objective(every=2)
    rng = SampleRng(0)

    def total(parts):
        prepared = [science.prepare(part, rng) for part in parts]
        sums = [science.sums({"tokenizer": model}, one) for one in prepared]
        weights = {term: sum(one.weights[term] for one in prepared) for term in science.coefficients}
        return {
            term: float(sum(one[term] for one in sums)) / weights[term] if weights[term] else 0.0
            for term in science.coefficients
        }

    samples = batch(0)
    whole = total([samples])
    assert whole["histogram"] > 0
    assert whole["residual"] > 0
    for parts in ([samples[:1], samples[1:]], [samples[2:], samples[:2]]):
        assert total(parts) == pytest.approx(whole, rel=1e-4)
        # It is not computed again in every micro-batch.
        assert sorted(science.prepare(part, rng).weights["histogram"] for part in parts) == [0, 1]
    # The next step has no turn; its neighbour has one again, with twice the weight.
    assert total([batch(4)])["histogram"] == 0
    assert total([batch(8)])["histogram"] == pytest.approx(whole["histogram"], rel=1e-6)
    assert science.coefficients["histogram"] == pytest.approx(0.02)
    assert science.coefficients["residual"] == 0.5


def test_terms_of_weight_nought_are_left_out():
    science = objective(teacher=None, histogram_weight=0, residual_weight=0)
    found = science.sums({"tokenizer": tokenizer()}, science.prepare(batch(0), SampleRng(0)))
    assert not {"histogram", "residual"} & found.keys()
    assert not {"histogram", "residual"} & science.coefficients.keys()


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("profile") / "teacher.json"
    save_profile(profile(), file)
    return file


def entries(folder, teacher_file, *more):
    return [
        f"train.checkpoint_dir={folder}",
        f"method.teacher={teacher_file}",
        "train.steps=4",
        "train.batch_size=4",
        "train.eval_every=2",
        "train.log_every=1",
        "train.device=cpu",
        "data.count=40",
        "evaluation.images=4",
        "method.usage.window=2",
        *more,
    ]


def run(folder, teacher_file, *more):
    config = read_run_config(recipe("glotok"), "tiny", entries(folder, teacher_file, *more))
    return run_recipe(recipe("glotok"), config)


def test_the_recipe_trains_measures_and_names_its_teacher(tmp_path, teacher_file):
    run(tmp_path, teacher_file)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = {key for record in records for key in record}
    text = json.dumps(records)
    for name in (
        "histogram",
        "residual",
        "share_semantic",
        "perplexity_visual",
        "density_cv_semantic",
        "codes_used_visual",
    ):
        assert name in text, (name, logged)
    loaded = load_checkpoint(tmp_path / "final", "tokenizer")
    assert loaded.provenance["recipe"] == "glotok"
    assert loaded.provenance["teacher"]["source"] == {"kind": "drawn", "vectors": 60}
    assert loaded.provenance["scales"] == "8"


def test_micro_batches_change_no_step(tmp_path, teacher_file):
    whole = run(tmp_path / "whole", teacher_file)
    parts = run(tmp_path / "parts", teacher_file, "train.micro_batch_size=2")
    assert parts.losses == pytest.approx(whole.losses, rel=2e-4)


def test_a_run_that_was_stopped_goes_on(tmp_path, teacher_file):
    whole = run(tmp_path / "whole", teacher_file)
    every = "train.checkpoint_every_steps=2"
    run(tmp_path / "cut", teacher_file, every, "train.steps=2")
    resumed = run(tmp_path / "cut", teacher_file, every)
    assert resumed.resumed_from == 2
    assert resumed.losses == whole.losses[2:]


def test_lightning_has_the_losses_of_the_loop(tmp_path, teacher_file):
    pytest.importorskip("lightning", reason="lightning is not installed")
    from ar_core.training.lightning_task import fit

    loop = run(tmp_path / "loop", teacher_file)
    config = read_run_config(recipe("glotok"), "tiny", entries(tmp_path / "fit", teacher_file))
    assert run_recipe(recipe("glotok"), config, driver=fit).losses == pytest.approx(loop.losses, abs=1e-5)


def test_a_discriminator_plays_from_its_step_on_and_after_the_tokenizer(tmp_path, teacher_file):
    game = ("method.adversarial_weight=0.5", "method.discriminator={channels: 4, layers: 2, groups: 4}")
    late = run(tmp_path / "late", teacher_file, *game, "method.adversarial_start_step=3")
    early = run(tmp_path / "early", teacher_file, *game, "method.adversarial_start_step=1")
    plain = run(tmp_path / "plain", teacher_file)
    assert late.losses[:3] == plain.losses[:3]
    assert early.losses[1] != plain.losses[1]
    rows = [json.loads(line) for line in (tmp_path / "early" / "metrics.jsonl").read_text().splitlines()]
    hinge = [row["values"]["discriminator"] for row in rows if "values" in row]
    assert hinge[0] == 0
    assert hinge[1] > 0


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["model.kind=vq", f"model.settings={{autoencoder: {SMALL}}}"], "set model.kind to dual_vq"),
        (["model.settings.residual=null"], "no residual modules"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, teacher_file, entry, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, teacher_file, *entry)
