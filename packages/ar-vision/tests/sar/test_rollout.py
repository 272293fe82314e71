"""How codes are rolled out: what they are drawn from, by which numbers, and in what pieces."""

import pytest
import torch
import torch.nn.functional as F
from ar_vision.backbones.scale_transformer import objective as scale_objective
from ar_vision.backbones.scale_transformer.objective import TERM
from ar_vision.decoding.image_sampler import ImageSampler
from ar_vision.sar import objective as objective_module
from ar_vision.sar import rollout as module
from ar_vision.sar.config import SarConfig
from ar_vision.sar.objective import STUDENT
from ar_vision.sar.rollout import null_hidden, roll_out, rollout_guidance
from ar_vision.scales import ScaleSchedule

SIDES = ScaleSchedule.square(1, 2, 3, 4)


@pytest.fixture
def watched(monkeypatch):
    """Logits and numbers of every choice from here on."""
    seen, place = [], ImageSampler.place
    monkeypatch.setattr(
        ImageSampler,
        "place",
        lambda self, logits, numbers: seen.append((logits, numbers)) or place(self, logits, numbers),
    )
    return seen


def test_oracle_6_argmax_needs_no_chance_and_samples_follow_their_seed(step):
    greedy = [step(rollout_sampling="argmax", seed=seed)[3][STUDENT] for seed in (0, 1)]
    torch.manual_seed(3)
    # Label dropout also belongs to the seed.
    same = [step(rollout_sampling="argmax", label_dropout=0.0, seed=seed)[3][STUDENT] for seed in (0, 1)]
    assert torch.equal(*same)
    drawn = [step(label_dropout=0.0, seed=seed)[3][STUDENT] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], greedy[0])


def test_argmax_rolls_out_the_most_probable_codes(step):
    models, objective, prepared, _ = step(rollout_sampling="argmax", rollout_guidance=1.0)
    forced = objective.teacher_pass(models, prepared)
    rolled = objective._rolled(forced, range(3), prepared.tensors["uniforms"])
    logits = models["model"].head(forced.hidden, forced.condition)
    assert torch.equal(torch.cat(rolled, dim=1), logits.argmax(-1))


def test_oracle_8_guidance_of_a_rollout_runs_from_a_half_to_the_whole():
    ramp = rollout_guidance(2.2, ScaleSchedule.square(1, 2, 3, 4, 5))
    assert ramp[0] == pytest.approx(1 + 0.6)
    assert ramp[2] == pytest.approx(1 + 0.9)
    assert ramp[-1] == pytest.approx(1 + 1.2)
    assert rollout_guidance(1.0, SIDES) == (1.0,) * 4
    assert rollout_guidance(2.2, ScaleSchedule.square(4)) == pytest.approx((1.6,))


def test_oracle_8_without_guidance_the_null_class_is_not_asked(step, monkeypatch):
    models, objective, prepared, sums = step(rollout_guidance=1.0)
    forced = objective.teacher_pass(models, prepared)
    rolled = [
        roll_out(
            forced, range(4), objective.config.sampler, prepared.tensors["uniforms"], null=null, guidance=(1.0,) * 4
        )
        for null in (None, null_hidden(forced))
    ]
    assert all(torch.equal(one, other) for one, other in zip(*rolled, strict=True))
    with torch.no_grad():
        models["model"].class_embedding.weight[-1] += 1
    assert torch.equal(objective.sums(models, prepared)[STUDENT], sums[STUDENT])
    guided = step(label_dropout=0.0)
    with torch.no_grad():
        guided[0]["model"].class_embedding.weight[-1] += 1
    assert not torch.equal(guided[1].sums(guided[0], guided[2])[STUDENT], guided[3][STUDENT])


def test_oracle_10_logits_are_never_those_of_all_codes(step, monkeypatch):
    """In the rollout, whatever its mode: at most so many at once."""
    models, objective, prepared, sums = step(max_logits=24 * 4)
    sizes, linear = [], F.linear

    def watched(x, weight, bias=None):
        if len(weight) == 24:
            sizes.append(x.shape[:-1].numel())
        return linear(x, weight, bias)

    monkeypatch.setattr(F, "linear", watched)
    again = objective.sums(models, prepared)
    # Two halves of two codes each.
    assert max(sizes) == 2
    assert sum(sizes) == 2 * 3 * SIDES.total
    torch.testing.assert_close(again[STUDENT], sums[STUDENT])
    torch.testing.assert_close(step()[3][STUDENT], sums[STUDENT])


def test_oracle_11_filters_do_not_touch_the_logits_of_the_loss(step):
    """Top-k of one code leaves nothing but -inf beside it in what is drawn from; the losses stay what they are."""
    models, objective, prepared, sums = step(rollout_top_k=1, rollout_guidance=1.0)
    forced = objective.teacher_pass(models, prepared)
    before = forced.hidden.clone()
    rolled = objective._rolled(forced, range(3), prepared.tensors["uniforms"])
    assert torch.equal(forced.hidden, before)
    logits = models["model"].head(forced.hidden, forced.condition)
    assert torch.equal(torch.cat(rolled, dim=1), logits.argmax(-1))
    assert torch.isfinite(logits).all()
    assert torch.equal(sums[TERM], step(sigma=0.0)[3][TERM])
    assert all(torch.isfinite(value) for value in sums.values())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_codes_are_chosen_from_the_guided_logits_of_both_halves(step, make_flexvar, watched, precision):
    """Each half under its own condition in the last norm too, each scale by its own strength and numbers, in float32, for no
    gradient.
    """
    model = make_flexvar(head_precision="fp32" if precision == torch.float32 else "autocast")
    models, objective, prepared, _ = step(model=model)
    uniforms = prepared.tensors["uniforms"]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision != torch.float32):
        forced = objective.teacher_pass(models, prepared)
        watched.clear()
        objective._rolled(forced, range(3), uniforms)
        null = model.null_condition(3)
        beside = model.head(model.teacher_forced(null, forced.inputs, SIDES), null)
        given = model.head(forced.hidden, forced.condition)
    assert given.dtype == beside.dtype == precision
    scales = zip(watched, *map(SIDES.split, (given.float(), beside.float(), uniforms)), strict=True)
    for strength, ((logits, numbers), one, other, own) in zip((1.6, 1.8, 2.0, 2.2), scales, strict=True):
        assert logits.dtype == torch.float32
        assert not logits.requires_grad
        assert torch.equal(numbers, own.flatten())
        expected = (one * strength - other * (strength - 1)).flatten(0, 1)
        torch.testing.assert_close(logits, expected, atol=1e-4 if precision == torch.float32 else 0.05, rtol=0)


@pytest.mark.parametrize(("target", "rolled"), [("teacher", 30), ("gt", 14), ("soft", 14)])
def test_a_rollout_holds_no_more_than_its_own_bound(step, watched, monkeypatch, target, rolled):
    """Whatever the losses may hold; and scales that are neither fed nor targets are not rolled out."""
    monkeypatch.setattr(module, "ROLLED_LOGITS", 24 * 6)
    for max_logits in (None, 24 * 64):
        watched.clear()
        step(max_logits=max_logits, target=target)
        sizes = [len(logits) for logits, _ in watched]
        assert max(sizes) == 3
        assert sum(sizes) == 3 * rolled


@pytest.mark.parametrize("target", ["teacher", "soft"])
def test_both_losses_and_the_rollout_keep_the_bound_of_logits(step, bounds, target):
    found = bounds(
        (scale_objective, "summed_cross_entropy"),
        (objective_module, "summed_cross_entropy"),
        (objective_module, "summed_soft_cross_entropy"),
        (objective_module, "roll_out"),
    )
    step(max_logits=96, target=target)
    assert found == [96] * 3


def test_defaults_are_what_published_runs_drew_by():
    config = SarConfig(final_resolution=16)
    assert (config.sigma, config.rollout, config.target, config.share_label_dropout) == (0.01, "full", "teacher", True)
    assert config.rollout_guidance == 2.2
    assert config.sampler == ImageSampler(convention="var", temperature=1.0, top_k=900, top_p=0.96)
    assert SarConfig(final_resolution=16, rollout_sampling="argmax").sampler.greedy
