"""LlamaGen's objective, and jobs of its recipe: learning, evaluation, saved models that draw what they learned."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.registry import configs, recipe
from ar_core.training import build_job, read_run_config, run_recipe
from ar_vision.backbones.generated_codes import GeneratedCodes, GeneratedSource
from ar_vision.backbones.llamagen import RECIPE
from ar_vision.backbones.llamagen.config import LlamaGenConfig, LlamaGenTraining
from ar_vision.backbones.llamagen.decode import (
    LlamaGenOptions,
    class_condition,
    generate,
    generate_images,
    text_condition,
)
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.llamagen.objective import TERM, LlamaGenObjective
from ar_vision.backbones.llamagen.train import held_out_nll
from ar_vision.checkpoint import load_checkpoint, require_pair, save_checkpoint
from ar_vision.data.codes import RECIPE as IMAGE_CODES
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer

Tiny = Callable[..., LlamaGen]
RNG = SampleRng(seed=3)


def _classes(count: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    return [{"index": n, "codes": torch.randint(24, (9,), generator=generator), "label": n % 5} for n in range(count)]


def _texts(count: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {**sample, "features": torch.randn(sample["index"] % 8, 12, generator=generator)} for sample in _classes(count)
    ]


def _tiny_run(*overrides: str) -> Any:
    return read_run_config(RECIPE, "tiny", overrides)


def _objective(model: LlamaGen, share: float = 0.0) -> LlamaGenObjective:
    return LlamaGenObjective(model.config, LlamaGenTraining(condition_dropout=share))


def test_is_registered() -> None:
    assert recipe("llamagen") is RECIPE
    assert "tiny" in configs(RECIPE)


def test_the_first_loss_is_that_of_even_guesses() -> None:
    model = LlamaGen(LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=24, grid=3, num_classes=5))
    model.initialize(torch.Generator().manual_seed(0))
    assert abs(held_out_nll(model.eval(), _classes(8)) - math.log(24)) < 0.05
    # A head that is not zero yet moves away from there, and every other weight is drawn.
    assert all(
        parameter.std() > 0
        for name, parameter in model.named_parameters()
        if "norm" not in name and name != "output.weight"
    )


def test_fresh_weights_are_those_of_the_seed() -> None:
    weights = [build_job(RECIPE, _tiny_run(f"train.seed={seed}")).models["model"].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["codes.weight"], weights[2]["codes.weight"])


def test_loss_is_the_mean_cross_entropy_of_all_codes(tiny: Tiny) -> None:
    model, samples = tiny(), _classes(5)
    prepared = _objective(model).prepare(samples, RNG)
    assert prepared.weights == {TERM: 45.0}
    codes = torch.stack([sample["codes"] for sample in samples])
    with torch.no_grad():
        found = _objective(model).sums({"model": model}, prepared)[TERM] / 45
        logits = model.head(model.teacher_forced(model.condition(torch.arange(5)), codes))
    assert (found - F.cross_entropy(logits.flatten(0, 1), codes.flatten())).abs() < 1e-5


def test_conditions_are_dropped_by_the_samples_own_randomness(tiny: Tiny) -> None:
    model, samples = tiny(), _classes(400)
    objective = _objective(model, 0.25)
    whole = objective.prepare(samples, RNG).tensors["classes"]
    parts = [objective.prepare(samples[a : a + 7], RNG).tensors["classes"] for a in range(0, 400, 7)]
    assert torch.equal(torch.cat(parts), whole)
    assert 70 <= int((whole == 5).sum()) <= 130
    kept = whole != 5
    assert torch.equal(whole[kept], torch.tensor([sample["label"] for sample in samples])[kept])
    assert not torch.equal(objective.prepare(samples, SampleRng(seed=4)).tensors["classes"], whole)


def test_held_out_loss_never_drops_a_condition(tiny: Tiny) -> None:
    model, samples = tiny(), _classes(50)
    objective = _objective(model)
    with torch.no_grad():
        sums = objective.sums({"model": model}, objective.prepare(samples, RNG))
    assert abs(held_out_nll(model, samples, batch_size=7) - float(sums[TERM]) / 450) < 1e-5
    without = _objective(model, 1.0)
    with torch.no_grad():
        null = float(without.sums({"model": model}, without.prepare(samples, RNG))[TERM]) / 450
    assert abs(null - float(sums[TERM]) / 450) > 1e-3


def test_unreadable_samples_count_on_neither_side(tiny: Tiny) -> None:
    model, samples = tiny("text"), _texts(6)
    readable = samples[:2] + samples[4:]
    broken = [{**sample, "valid": int(sample["index"] not in (2, 3))} for sample in samples]
    objective = _objective(model, 0.5)
    found, expected = objective.prepare(broken, RNG), objective.prepare(readable, RNG)
    assert found.weights == expected.weights == {TERM: 36.0}
    with torch.no_grad():
        sums = [objective.sums({"model": model}, prepared)[TERM] for prepared in (found, expected)]
    assert abs(sums[0] / sums[1] - 1) < 1e-5
    nothing = objective.prepare([{**sample, "valid": 0} for sample in samples], RNG)
    assert nothing.weights == {TERM: 0.0}
    assert float(objective.sums({"model": model}, nothing)[TERM].detach()) == 0


def test_texts_train_as_they_are_decoded(tiny: Tiny) -> None:
    """The loss of a text is that of the logits that decoding sees, and a dropped one trains the null features."""
    model, samples = tiny("text"), _texts(8)
    codes = torch.stack([sample["codes"] for sample in samples])
    condition = text_condition(model, [sample["features"] for sample in samples])
    for share, prefix in ((0.0, condition.given), (1.0, condition.null)):
        objective = _objective(model, share)
        model.zero_grad()
        loss = objective.sums({"model": model}, objective.prepare(samples, RNG))[TERM] / codes.numel()
        loss.backward()
        with torch.no_grad():
            logits = model.head(model.teacher_forced(prefix, codes, condition.valid))
        assert (loss - F.cross_entropy(logits.flatten(0, 1), codes.flatten())).abs() < 1e-5
        gradient = model.condition.null_features.grad
        assert (gradient is not None and float(gradient.abs().max()) > 0) == (share == 1)


def test_dropout_is_on_in_training_only(tiny: Tiny) -> None:
    model, samples = tiny(), _classes(4)
    objective = _objective(model)
    prepared = objective.prepare(samples, RNG)

    def loss() -> float:
        with torch.no_grad():
            return float(objective.sums({"model": model}, prepared)[TERM])

    assert loss() == loss()
    model.train()
    assert loss() != loss()
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates == [0.1] * (1 + 2 * model.config.layers)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codes": torch.zeros(4, dtype=torch.long)}, r"shape \[4\] and the model takes 9"),
        ({"codes": torch.full((9,), 24)}, "codes from 24 to 24 and the model knows 0 to 23"),
        ({"label": 5}, "label 5 was given: classes run from 0 to 4"),
    ],
)
def test_samples_of_another_model_are_refused(tiny: Tiny, change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _objective(tiny()).prepare([{**_classes(1)[0], **change}], RNG)


def test_a_sample_without_its_condition_is_refused(tiny: Tiny) -> None:
    with pytest.raises(DataError, match="has no 'features'"):
        _objective(tiny("text")).prepare(_classes(1), RNG)


def test_learns_classes_and_draws_them_from_the_saved_model(tmp_path) -> None:
    run = _tiny_run(
        "data.generated.noise=0.0", "train.steps=60", "train.eval_every=60", f"train.checkpoint_dir={tmp_path / 'run'}"
    )
    result = run_recipe(RECIPE, run)
    assert result.losses[0] == pytest.approx(math.log(64), abs=0.05)
    assert result.evaluation["held_out_nll"] < 0.1
    model = load_checkpoint(tmp_path / "run" / "final", "generator").model
    source = build_job(RECIPE, run).source
    options = LlamaGenOptions(guidance=1.5, temperature=0.0)
    assert torch.equal(generate(model, class_condition(model, [0, 1, 2, 3]), options).codes, source.patterns)


def test_held_out_loss_of_the_tiny_recipe_nears_its_bound() -> None:
    run = _tiny_run()
    evaluation = run_recipe(RECIPE, run).evaluation
    bound = run.data.generated.entropy(run.model.vocab_size)
    assert bound - 0.05 < evaluation["held_out_nll"] < bound + 0.15


def test_training_does_not_depend_on_micro_batches() -> None:
    runs = [
        _tiny_run("train.steps=4", "train.warmup_steps=0", "train.eval_every=null", *more)
        for more in ([], ["train.micro_batch_size=5"])
    ]
    whole, split = (run_recipe(RECIPE, run).losses for run in runs)
    assert split == pytest.approx(whole, rel=1e-5)


def test_generated_codes_are_a_function_of_their_number() -> None:
    law = GeneratedCodes(noise=0.3)
    sources = {
        split: GeneratedSource(law, classes=3, length=400, vocab_size=10, split=split, seed=5)
        for split in ("train", "held_out")
    }
    later, sooner = next(sources["train"].open(7)), [s for s, _ in zip(sources["train"].open(0), range(8))][7]
    assert torch.equal(later["codes"], sooner["codes"])
    assert later["index"] == 7
    assert not torch.equal(later["codes"], next(sources["held_out"].open(7))["codes"])
    share = float((later["codes"] != sources["train"].patterns[later["label"]]).float().mean())
    assert abs(share - 0.27) < 0.08
    assert replace(law, noise=1.0).entropy(10) == pytest.approx(math.log(10))
    assert replace(law, noise=0.0).entropy(10) == 0


def test_generated_texts_are_learned() -> None:
    run = read_run_config(RECIPE, "tiny_text", ["train.steps=60", "train.eval_every=60", "data.generated.noise=0.0"])
    assert run_recipe(RECIPE, run).evaluation["held_out_nll"] < 0.3


@pytest.mark.parametrize("name", configs(RECIPE))
def test_shipped_models_build(name: str) -> None:
    model_config = read_run_config(RECIPE, name).model
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in LlamaGen(model_config).parameters())
    if name.startswith("c2i_"):
        size, pixels = name.split("_")[1:]
        assert model_config == LlamaGenConfig.of_size(size.upper(), grid=int(pixels) // 16)
    else:
        assert count <= 3_000_000


@pytest.fixture
def stored(tiny_autoencoder: AutoencoderConfig, tmp_path: Path) -> Path:
    """A folder with a tokenizer of 4 pixels a code and codes of drawn pictures, 2 x 2 each."""
    tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, code_dim=4))
    tokenizer.initialize(torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "tokenizer", tokenizer)
    made = read_run_config(
        IMAGE_CODES,
        "tiny",
        [
            f"tokenizer={tmp_path / 'tokenizer'}",
            "data={kind: shapes, count: 60, size: 8, cache: false}",
            f"stage={{directory: {tmp_path / 'codes'}, chunk_size: 20}}",
        ],
    )
    run_recipe(IMAGE_CODES, made)
    return tmp_path


def _stored_run(folder: Path, *overrides: str) -> Any:
    return _tiny_run(
        f"data={{codes: {{path: {folder / 'codes'}, held_out: 0.2}}}}",
        f"tokenizer={folder / 'tokenizer'}",
        "model.grid=2",
        "model.vocab_size=16",
        "model.num_classes=10",
        *overrides,
    )


def test_stored_codes_train_a_model_that_knows_its_tokenizer(stored: Path) -> None:
    run = _stored_run(stored, "train.steps=12", "train.eval_every=12", f"train.checkpoint_dir={stored / 'run'}")
    result = run_recipe(RECIPE, run)
    assert result.losses[-1] < result.losses[0]
    assert 0 < result.evaluation["held_out_nll"] < math.log(16)
    generator, tokenizer = load_checkpoint(stored / "run" / "final"), load_checkpoint(stored / "tokenizer")
    require_pair(generator, tokenizer)
    assert generator.provenance["data"]["split"] == "train"
    shown = generate_images(
        generator.model, tokenizer.model, class_condition(generator.model, [0, 1]), LlamaGenOptions(guidance=2.0)
    )
    assert shown.images.shape == (2, 3, 8, 8)
    assert shown.images.dtype == torch.float32
    assert shown.images.abs().max() <= 1
    assert [codes.shape for codes in shown.codes] == [(2, 4)]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.vocab_size=32"], "has 16 codes: set it to 16"),
        (["model.condition=text"], "features of a T5 and none is given"),
        (["tokenizer=null"], "give tokenizer"),
        (["data={generated: {}}"], "leave tokenizer out"),
        (["data={}"], "neither was given"),
    ],
)
def test_runs_that_cannot_be_are_refused(stored: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_job(RECIPE, _stored_run(stored, *overrides))


def test_a_tokenizer_of_another_size_is_refused(stored: Path, tiny: Tiny) -> None:
    model, tokenizer = tiny(), load_checkpoint(stored / "tokenizer").model
    with pytest.raises(
        CheckpointError, match="codes with vocab_size 24 and those of the VqTokenizer have vocab_size 16"
    ):
        generate_images(model, tokenizer, class_condition(model, [0]), LlamaGenOptions())
