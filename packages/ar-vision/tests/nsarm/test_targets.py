"""What both stages learn."""

from dataclasses import replace

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.training import mean_loss
from ar_vision.backbones.infinity.objective import ACCURACY, TERM, InfinityObjective
from ar_vision.backbones.infinity.objective_config import InfinityTraining
from ar_vision.backbones.infinity.self_correction import bit_targets
from ar_vision.nsarm.layout import to_maps, to_tokens
from ar_vision.nsarm.objective import (
    CONSISTENCY,
    MAP,
    PREFIX_ACCURACY,
    JointObjective,
    MapObjective,
    residual_errors,
)
from ar_vision.nsarm.objective_config import NsarmTraining
from ar_vision.nsarm.targets import joint_targets, residual_targets
from ar_vision.scales import ScaleSchedule
from ar_vision.text.encoder import build_text_encoder
from ar_vision.tokenizers.bsq.bit_history import BitHistory
from torch.nn.functional import interpolate

SCHEDULE = ScaleSchedule.square(1, 2, 3, 4, 6, 8)
SEVEN = 3
"""m of these tests."""


@pytest.fixture
def features():
    return torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(7))


def history(rows=2, schedule=SCHEDULE):
    return BitHistory(rows, schedule, 8)


def test_a_perfect_map_makes_infinitys_own_teacher_forcing_bit_for_bit(features):
    """Oracle 3, through the memory layout of the outputs."""
    true = residual_targets(features, history(), SEVEN)
    written = [to_maps(to_tokens(r, "memory"), r.shape[2:], "memory") for r in true]
    found = joint_targets(features, written, history())
    expected = bit_targets(features, history())
    assert all(torch.equal(one, other) for one, other in zip(found.inputs, expected.inputs, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(found.labels, expected.labels, strict=True))
    patched = ScaleSchedule.square(1, 2, 4)
    both = [BitHistory(2, patched, 32, side=2) for _ in range(3)]
    one = joint_targets(features, residual_targets(features, both[0], 2), both[1])
    other = bit_targets(features, both[2])
    assert all(torch.equal(a, b) for a, b in zip(one.inputs + one.labels, other.inputs + other.labels, strict=True))


def test_stage_one_is_zero_for_a_perfect_map_and_the_mean_square_for_none(features):
    """Oracle 4."""
    true = residual_targets(features, history(), SEVEN)
    zeros = [torch.zeros_like(r) for r in true]
    for reduction in ("tokens", "scales"):
        assert residual_errors(true, true, reduction).tolist() == [0, 0]
    flat = torch.cat([r.flatten(1) for r in true], dim=1)
    torch.testing.assert_close(residual_errors(zeros, true, "tokens"), flat.square().mean(1))
    torch.testing.assert_close(
        residual_errors(zeros, true, "scales"), torch.stack([r.square().flatten(1).mean(1) for r in true]).mean(0)
    )
    first = torch.nn.functional.interpolate(features, size=(1, 1), mode="area")
    assert torch.equal(true[0], first)


def test_later_labels_make_good_for_a_wrong_sign_of_the_map(features):
    """Oracle 5."""
    true = residual_targets(features, history(), SEVEN)
    changed = [r.clone() for r in true]
    changed[1][:, 0] *= -1
    before, after = (joint_targets(features, r, history()).labels for r in (true, changed))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert all(not torch.equal(before[k], after[k]) for k in range(SEVEN, SCHEDULE.count))

    generator = torch.Generator().manual_seed(1)
    random = [torch.randn(r.shape, generator=generator) for r in true]
    # Unit vectors, which the last scale alone can code within its own error.
    features = torch.nn.functional.normalize(features, dim=1)
    whole, prefix = history(), history()
    labels = joint_targets(features, random, whole).labels
    for label in labels[:SEVEN]:
        prefix.add(label)
    assert (features - whole.features).norm() < (features - prefix.features).norm()
    quantised = history(schedule=ScaleSchedule.square(8))
    quantised.add(quantised.bits_of(features))
    assert (features - whole.features).norm() < 1.5 * (features - quantised.features).norm()


def test_a_gradient_goes_through_codes_as_through_residuals_of_length_one(features):
    """Oracle 7, against the released loop written out: inputs, and their gradient, also by what later scales have left to code."""
    generator = torch.Generator().manual_seed(3)
    shapes = [r.shape for r in residual_targets(features, history(), SEVEN)]
    predicted = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    found = joint_targets(features, predicted, history()).inputs
    weights = [torch.randn(one.shape, generator=generator) for one in found]
    gradients = torch.autograd.grad(sum((x * w).sum() for x, w in zip(found, weights)), predicted)

    # A frame of one, as the published code has: [B, d, 1, S, S].
    expected, total = [], torch.zeros(2, 8, 1, 8, 8)
    for k, (size, _) in enumerate(SCHEDULE.sizes):
        residual = features[:, :, None] - total
        if k < SEVEN:
            residual = predicted[k][:, :, None]
        elif k + 1 < SCHEDULE.count:
            residual = interpolate(residual, size=(1, size, size), mode="area")
        unit = residual / residual.norm(dim=1, keepdim=True)
        code = torch.where(residual > 0, 1.0, -1.0) / 8**0.5
        total = total + interpolate(unit + (code - unit).detach(), size=(1, 8, 8), mode="trilinear")
        if k + 1 < SCHEDULE.count:
            following = SCHEDULE.sizes[k + 1][0]
            expected.append(interpolate(total, size=(1, following, following), mode="trilinear")[:, :, 0])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    wanted = torch.autograd.grad(sum((x * w).sum() for x, w in zip(expected, weights)), predicted)
    for one, other in zip(gradients, wanted, strict=True):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.fixture
def sides(nsarm, tokenizer, high):
    encoder = build_text_encoder(nsarm.config.transformer.texts)
    models = {"model": nsarm.transformer, "map": nsarm.map, "tokenizer": tokenizer, "text": encoder}
    samples = [{"index": n, "image": image, "caption": f"picture {n}"} for n, image in enumerate(high)]
    return nsarm, encoder, models, samples


LIGHT = NsarmTraining(
    stage="joint", degradation="light", transformer=InfinityTraining(flip_strength=0.0, condition_dropout=0.0)
)


def gradients(objective, models, samples):
    for model in models.values():
        model.zero_grad(set_to_none=True)
    prepared = objective.prepare(samples, SampleRng(0))
    found = objective.sums(models, prepared)
    found[TERM].backward()
    return sum(float(p.grad.abs().sum()) for p in models["map"].parameters() if p.grad is not None), found


def test_stage_two_reaches_the_map_through_its_codes_alone(sides, monkeypatch):
    """Oracle 7: non-zero through the straight-through codes, zero when inputs are detached."""
    nsarm, encoder, models, samples = sides
    objective = JointObjective(LIGHT, nsarm, encoder)
    size, found = gradients(objective, models, samples)
    assert size > 1e-4
    assert not found[MAP].requires_grad
    scored = JointObjective.scored

    def detached(self, models, prepared, targets, first=0):
        return scored(self, models, prepared, replace(targets, inputs=[x.detach() for x in targets.inputs]), first)

    monkeypatch.setattr(JointObjective, "scored", detached)
    assert gradients(objective, models, samples)[0] == 0


def test_the_bits_of_the_map_are_not_scored_unless_asked_for(sides):
    nsarm, encoder, models, samples = sides
    written = JointObjective(LIGHT, nsarm, encoder)
    prepared = written.prepare(samples, SampleRng(0))
    every = JointObjective(replace(LIGHT, loss_scales="all"), nsarm, encoder)
    first, second = (one.sums(models, prepared)[TERM] for one in (written, every))
    assert abs(float(first - second)) > 1e-4
    with torch.no_grad():
        # Whatever the head says of the first two scales counts only where all are scored.
        nsarm.transformer.output.linear.weight.zero_()
        nsarm.transformer.output.linear.bias.zero_()
    for one in (written, every):
        assert float(one.sums(models, prepared)[TERM]) == pytest.approx(3 * 0.693147, rel=1e-4)


def test_with_true_residuals_the_loss_is_infinitys_own(sides, monkeypatch):
    """Oracle 3, to the loss: the same images, no degradation between them and the map."""
    nsarm, encoder, models, samples = sides
    prompt = LIGHT.prompt
    objective = JointObjective(replace(LIGHT, loss_scales="all"), nsarm, encoder)
    prepared = objective.prepare(samples, SampleRng(0))
    features = objective.features(models, prepared)
    true = residual_targets(features, objective.history(features), 2)
    monkeypatch.setattr(type(nsarm.map), "residuals", lambda self, features: true)
    found = objective.sums(models, prepared)
    plain = InfinityObjective(LIGHT.transformer, nsarm.transformer, nsarm.config.schedule, encoder)
    own = plain.prepare([{**sample, "caption": prompt} for sample in samples], SampleRng(0))
    expected = plain.sums(models, own)
    assert float(found[TERM]) == float(expected[TERM])
    assert float(found[ACCURACY]) == float(expected[ACCURACY])
    assert float(found[MAP]) == 0
    assert float(found[PREFIX_ACCURACY]) == 3


def test_the_noise_of_a_sample_is_its_own_in_both_stages(sides):
    nsarm, encoder, models, samples = sides
    flipping = replace(LIGHT, transformer=InfinityTraining(flip_strength=0.3, condition_dropout=0.5))
    for objective in (
        MapObjective(NsarmTraining(degradation="light"), nsarm.config),
        JointObjective(flipping, nsarm, encoder),
    ):
        whole = objective.prepare(samples, SampleRng(4))
        alone = [objective.prepare([sample], SampleRng(4)) for sample in samples]
        assert torch.equal(whole.tensors["low"], torch.cat([one.tensors["low"] for one in alone]))
        assert whole.tensors["low"].shape == (3, 3, 4, 4)
        together = objective.sums(models, whole)
        apart = [objective.sums(models, one) for one in alone]
        for name, value in together.items():
            assert float(value) == pytest.approx(sum(float(one[name]) for one in apart), rel=1e-4, abs=1e-6)


def test_the_running_sums_of_both_sides_are_compared_where_asked_for(sides, features):
    nsarm, _, models, samples = sides
    objective = MapObjective(NsarmTraining(degradation="bicubic", consistency_weight=0.5), nsarm.config)
    assert objective.coefficients == {MAP: 1.0, CONSISTENCY: 0.5}
    assert float(mean_loss(objective, models, samples)[CONSISTENCY]) > 0
    true = residual_targets(features, history(), 2)
    wrong = [true[0] + 1, true[1]]
    # What the first scale has too much, both running sums have: 1 in every place.
    assert float(objective.errors(wrong, true, history())[CONSISTENCY]) == pytest.approx(2.0, rel=1e-5)
    assert float(objective.errors(true, true, history())[CONSISTENCY]) == 0


def test_samples_without_an_image_are_named(sides):
    nsarm, *_ = sides
    with pytest.raises(DataError, match="sample 4 has no 'image', which is degraded"):
        MapObjective(NsarmTraining(), nsarm.config).prepare([{"index": 4}], SampleRng(0))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"stage": "both"}, "stage is 'both'; choose map or joint"),
        ({"degradation": "lihgt"}, "there is no degradation 'lihgt'.*light"),
        ({"map_weight": 1.0}, "map_weight belongs to the stage joint"),
        ({"stage": "joint", "consistency_weight": 1.0}, "consistency_weight belongs to the stage map"),
        ({"map_lr": 0.0}, "map_lr is 0.0"),
        ({"trained_blocks": -1}, "trained_blocks is -1"),
        ({"transformer": InfinityTraining(trained_scales=3)}, "needs the last scale"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        NsarmTraining(**settings)
