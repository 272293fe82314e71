"""The tokenizer's game: its formula, whose weights move, exactness under splits, and exact resume."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Ranks, TrainStep, mean_loss, train
from ar_core.training.optimizers import build_turns
from ar_core.training.step import OptimizerStep
from ar_vision.tokenizers.training.config import TokenizerTrainingConfig
from ar_vision.tokenizers.training.objective import TokenizerObjective
from ar_vision.tokenizers.training.usage import UsageConfig


def prepared(small, config, count, start=0):
    samples = small.source().open(start)
    return TokenizerObjective(config, batch_size=small.batch).prepare(
        [next(samples) for _ in range(count)], SampleRng(0)
    )


def stepper(small, config, models, **changes):
    objective = TokenizerObjective(config, batch_size=small.batch)
    run = small.train_config(**changes)
    module = TrainStep(objective, models, run.precision)
    return OptimizerStep(module, objective, build_turns(objective, models, run), run, Ranks())


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("pixel", ["l1", "l2"])
@pytest.mark.parametrize("game", ["hinge", "vanilla"])
def test_losses_are_the_formulas_written_out(small, pixel, game):
    config = small.settings(pixel=pixel, adversarial_loss=game)
    models = small.models(config)
    batch = prepared(small, config, 5)
    images = batch.tensors["image"]
    assert images.min() >= -1
    assert images.max() <= 1
    found = TokenizerObjective(config, batch_size=small.batch).sums(models, batch)
    output = models["tokenizer"].train_forward(images, config.schedule)
    again = output.reconstruction
    error = (again - images).abs() if pixel == "l1" else (again - images) ** 2
    real, fake = models["discriminator"](images), models["discriminator"](again)
    if game == "hinge":
        verdict = -fake.mean()
        rival = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    else:
        verdict = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
        rival = (
            F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
            + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        ) / 2
    expected = {
        "pixel": error.mean(),
        "perceptual": models["lpips"](again, images).mean(),
        "code": output.code_loss / 5,
        "commit": output.commit_loss / 5,
        "adversarial": verdict,
        "discriminator": rival,
        "logits_real": real.mean(),
        "logits_fake": fake.mean(),
    }
    for name, value in expected.items():
        assert (found[name] / 5).item() == pytest.approx(value.item(), rel=1e-5, abs=1e-7), name
        assert batch.weights[name] == 5


def test_defaults_are_the_published_ones():
    config = TokenizerTrainingConfig(scales=(16,), lpips="file")
    assert config.coefficients == {
        "pixel": 1.0, "perceptual": 1.0, "code": 1.0, "commit": 0.25, "adversarial": 0.5, "discriminator": 1.0,
    }  # fmt: skip
    assert (config.pixel, config.adversarial_loss, config.adversarial_start_step) == ("l2", "hinge", 20_000)


def test_each_turn_moves_its_own_weights_only(small):
    config = small.settings()
    models = small.models(config)
    step = stepper(small, config, models)
    before = {name: copied(model) for name, model in models.items()}
    tokenizer, rival = step.turns
    lrs = {turn.player.name: turn.group_lrs for turn in (tokenizer, rival)}
    for still, moving in ((rival, "tokenizer"), (tokenizer, "discriminator")):
        still.group_lrs = [0.0 for _ in still.group_lrs]
        step([prepared(small, config, 6)], 0)
        still.group_lrs = lrs[still.player.name]
        changed = {name for name, model in models.items() if moved(model, before[name]) and name != "usage"}
        assert changed == {moving}
        for name, model in models.items():
            model.load_state_dict(before[name])


def test_gradients_of_a_turn_stay_with_its_player(small):
    config = small.settings()
    models = small.models(config)
    step = stepper(small, config, models)
    step([prepared(small, config, 6)], 0)
    objective = TokenizerObjective(config, batch_size=small.batch)
    for turn in step.turns:
        others = [parameter for other in step.turns if other is not turn for parameter in other.parameters]
        for parameter in others:
            parameter.requires_grad_(False)
            parameter.grad = None
        batch = prepared(small, config, 6)
        batch.player = turn.player.name
        sums = objective.sums(models, batch)
        sum(sums[term] for term in turn.player.terms).backward()
        assert all(parameter.grad is None for parameter in others)
        assert any(parameter.grad.abs().max() > 0 for parameter in turn.parameters if parameter.grad is not None)
        for parameter in others:
            parameter.requires_grad_(True)
    assert all(not parameter.requires_grad for parameter in models["lpips"].parameters())


def test_the_discriminator_judges_the_reconstruction_that_the_tokenizer_was_judged_by(small):
    config = small.settings()
    models = small.models(config)
    batch = prepared(small, config, 6)
    again = models["tokenizer"].train_forward(batch.tensors["image"], config.schedule).reconstruction.detach()
    expected = models["discriminator"](again).mean().item()
    report = stepper(small, config, models, lr=0.5)([batch], 0)
    assert report.values["logits_fake"] == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(batch.carry["reconstruction"], again)


def test_before_the_start_step_neither_plays(small):
    config = small.settings(adversarial_start_step=2)
    models = small.models(config)
    step = stepper(small, config, models)
    rival = copied(models["discriminator"])
    for number in range(3):
        report = step([prepared(small, config, 6, start=6 * number)], number)
        assert report.weights["adversarial"] == (6 if number == 2 else 0)
        assert (report.values["discriminator"] > 0) == (number == 2)
        assert bool(moved(models["discriminator"], rival)) == (number == 2)


def losses(small, config, splits, steps=5):
    models = small.models(config)
    # A small rate: AdamW turns the rounding of a gradient that should be 0 into a whole step.
    step = stepper(small, config, models, lr=1e-5)
    objective = TokenizerObjective(config, batch_size=small.batch)
    found = []
    for number in range(steps):
        start, batches = number * small.batch, []
        for size in splits:
            batches.append(prepared(small, config, size, start))
            start += size
        found.append(step(batches, number))
        objective.after_step(models, number, Ranks())
    return found, models


@pytest.mark.parametrize("splits", [(3, 3), (1, 5), (1, 2, 3), (1,) * 6])
@pytest.mark.parametrize("adaptive", [False, True])
def test_any_split_of_a_step_is_the_same_step(small, splits, adaptive):
    usage = UsageConfig(window=2, first_batch=True, fewest=15)
    config = small.settings(adaptive_weight=adaptive, adversarial_start_step=1, usage=usage)
    whole, models = losses(small, config, (6,))
    split, others = losses(small, config, splits)
    for a, b in zip(whole, split):
        assert a.weights == b.weights
        assert a.values == pytest.approx(b.values, rel=1e-4, abs=1e-6)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-3)
    assert torch.equal(models["usage"].uses, others["usage"].uses)
    for name, value in models["tokenizer"].state_dict().items():
        torch.testing.assert_close(value, others["tokenizer"].state_dict()[name], atol=1e-4, rtol=1e-4)
    assert models["usage"].revived > 0


def test_resumed_equals_uninterrupted(small, tmp_path):
    config = small.settings(adaptive_weight=True, usage=UsageConfig(window=3))
    whole_job = small.job(config)
    whole = train(whole_job, small.train_config(tmp_path / "whole", steps=8, ema=0.9))
    for steps in (2, 4, 5, 8):
        job = small.job(config)
        result = train(job, small.train_config(tmp_path / "parts", steps=steps, ema=0.9))
    assert result.losses == whole.losses[5:]
    for name, model in whole_job.models.items():
        assert not moved(model, copied(job.models[name])), name
    assert whole_job.models["usage"].revived > 0
    assert whole_job.models["balance"].factor > 0


def test_revival_is_a_function_of_the_seed(small):
    def books(seed):
        job = small.job(small.settings(), seed)
        train(job, small.train_config(steps=4, seed=0))
        return job.models["tokenizer"].codebook.weight.detach()

    assert torch.equal(books(0), books(0))
    assert not torch.equal(books(0), books(1))


def test_the_adaptive_weight_is_the_ratio_of_gradients_of_the_step_before(small):
    config = small.settings(adaptive_weight=True)
    models = small.models(config)
    objective = TokenizerObjective(config, batch_size=small.batch)
    batch = prepared(small, config, 6)
    layer = models["tokenizer"].decoder.last_layer
    assert objective.sums(models, batch)["adversarial"] == 0, "the first step only measures"
    output = models["tokenizer"].train_forward(batch.tensors["image"], config.schedule).reconstruction
    images = batch.tensors["image"]
    reconstruction = ((output - images) ** 2).mean((1, 2, 3)).sum() + models["lpips"](output, images).sum()
    verdict = -models["discriminator"](output).mean((1, 2, 3)).sum()
    norms = [torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in (reconstruction, verdict)]
    objective.after_step(models, 0, Ranks())
    assert models["balance"].factor.item() == pytest.approx((norms[0] / (norms[1] + 1e-4)).item(), rel=1e-4)
    found = objective.sums(models, prepared(small, config, 6))["adversarial"]
    # The first step has placed all codes on its images: measured anew.
    again = models["tokenizer"].train_forward(images, config.schedule).reconstruction
    expected = models["balance"].factor * -models["discriminator"](again).mean((1, 2, 3)).sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_terms_of_weight_zero_need_no_model(small):
    config = small.settings(
        perceptual_weight=0, lpips=None, adversarial_weight=0, commit_weight=0, usage=None, discriminator_lr=None
    )
    models = small.models(config)
    assert set(models) == {"tokenizer"}
    objective = TokenizerObjective(config, batch_size=small.batch)
    assert [player.models for player in objective.players()] == [("tokenizer",)]
    assert set(objective.coefficients) == {"pixel", "code"}
    result = train(small.job(config), small.train_config(steps=2))
    assert len(result.losses) == 2


def test_evaluation_moves_and_counts_nothing(small):
    config = small.settings()
    models = small.models(config)
    before = {name: copied(model) for name, model in models.items()}
    samples = small.source().open(0)
    found = mean_loss(
        TokenizerObjective(config, batch_size=small.batch),
        {name: model.eval() for name, model in models.items()},
        [next(samples) for _ in range(4)],
    )
    assert found["pixel"] > 0
    assert not any(moved(model, before[name]) for name, model in models.items())
    assert models["usage"].noted.sum() == 0


def test_straight_through_reaches_the_encoder_and_codes_learn_from_their_loss_alone(small):
    config = small.settings(adversarial_weight=0)
    models = small.models(config)
    objective = TokenizerObjective(config, batch_size=small.batch)
    found = objective.sums(models, prepared(small, config, 3))
    book, first = models["tokenizer"].codebook.weight, models["tokenizer"].encoder.conv_in.weight
    grads = {
        term: torch.autograd.grad(found[term], (book, first), retain_graph=True, allow_unused=True)
        for term in ("pixel", "perceptual", "code", "commit")
    }
    for term in ("pixel", "perceptual", "commit"):
        assert grads[term][1].abs().max() > 0, term
        assert grads[term][0] is None or grads[term][0].abs().max() == 0, term
    assert grads["code"][0].abs().max() > 0
    assert grads["code"][1] is None or grads["code"][1].abs().max() == 0


def test_settings_that_contradict():
    with pytest.raises(ConfigError, match=r"perceptual_weight is 1\.0 and lpips names no file"):
        TokenizerTrainingConfig(scales=(8,))
    with pytest.raises(ConfigError, match="pixel_weight and perceptual_weight are both 0"):
        TokenizerTrainingConfig(scales=(8,), pixel_weight=0, perceptual_weight=0)
    with pytest.raises(ConfigError, match="adaptive_weight is true and adversarial_weight is 0"):
        TokenizerTrainingConfig(scales=(8,), lpips="x", adversarial_weight=0, adaptive_weight=True)
    with pytest.raises(ConfigError, match="commit_weight is -1, but must be at least 0"):
        TokenizerTrainingConfig(scales=(8,), lpips="x", commit_weight=-1)
    with pytest.raises(ConfigError, match="scales run from coarse to fine"):
        TokenizerTrainingConfig(scales=(8, 4), lpips="x")
