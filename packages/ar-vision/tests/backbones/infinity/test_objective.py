"""Training: losses, weights, flips, dropped texts, and independence of how a batch is split."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_vision.backbones.infinity.objective import InfinityObjective, bit_losses, token_weights
from ar_vision.backbones.infinity.objective_config import InfinityTraining
from ar_vision.backbones.infinity.schedules import published_schedule
from ar_vision.backbones.infinity.self_correction import bit_targets, draw_flips
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.bsq.bit_history import BitHistory
from ar_vision.tokenizers.scale_history import teacher_inputs

PLAIN = InfinityTraining(flip_strength=0.0, condition_dropout=0.0)


def _samples(count=4, length=5):
    generator = torch.Generator().manual_seed(2)
    return [
        {
            "index": 10 + i,
            "features": torch.randn(8, 4, 4, generator=generator),
            "text": torch.randn(1 + (i + length) % 5, 24, generator=generator),
        }
        for i in range(count)
    ]


def _sums(objective, model, samples, seed=0):
    prepared = objective.prepare(samples, SampleRng(seed))
    return {name: value.item() for name, value in objective.sums({"model": model}, prepared).items()}


@pytest.mark.golden
def test_recorded_losses(case, published):
    recorded = case("tiny_teacher_forced_r1")
    features, lengths = recorded.tensors["features"], recorded.text.valid.sum(1).tolist()
    samples = [{"index": i, "features": features[i], "text": recorded.text.features[i, : lengths[i]]} for i in range(2)]
    for weighting, bit_loss, name in (
        ("tokens", "mean", "loss_uniform"),
        ("tokens", "sum", "loss_sum_bits_uniform"),
        ("scales", "mean", "loss_reweighted_fixed"),
    ):
        config = replace(PLAIN, weighting=weighting, bit_loss=bit_loss)
        objective = InfinityObjective(config, published, recorded.schedule)
        prepared = objective.prepare(samples, SampleRng(0))
        loss = objective.sums({"model": published}, prepared)["bits"] / prepared.weights["bits"]
        torch.testing.assert_close(loss, recorded.tensors[name], atol=1e-5, rtol=1e-5)


def test_the_loss_at_zero_logits_is_ln_2_per_bit():
    labels = torch.rand(2, 14, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    losses, _ = bit_losses(torch.zeros(2, 14, 12), labels)
    for by_scale in (False, True):
        weights = token_weights(ScaleSchedule.square(1, 2, 3), by_scale=by_scale)
        total = (losses.mean(-1) * weights).sum(-1)
        torch.testing.assert_close(total, torch.full((2,), math.log(2)))


def test_the_loss_is_a_two_way_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 3, 8, generator=generator), torch.rand(2, 3, 4, generator=generator) < 0.5
    losses, right = bit_losses(logits, labels)
    pairs = logits.view(2, 3, 4, 2)
    expected = torch.nn.functional.cross_entropy(pairs.flatten(0, 2), labels.flatten().long(), reduction="none")
    torch.testing.assert_close(losses.flatten(), expected)
    assert torch.equal(right, pairs.argmax(-1) == labels)


def test_a_token_counts_by_the_size_of_its_scale():
    schedule = published_schedule(1.0, "0.06M")
    weights = token_weights(schedule, by_scale=True)
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    torch.testing.assert_close(weights[0] / weights[-1], torch.tensor(16.0))
    assert torch.equal(token_weights(schedule, by_scale=False), torch.full((521,), 1 / 521))


def test_no_flips_is_plain_teacher_forcing(schedule):
    features = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    none = bit_targets(features, BitHistory(2, schedule, 8))
    zeros = draw_flips(schedule, 8, 5, SampleRng(0), strength=0.0, layers=13)
    assert not any(flip.any() for flip in zeros)
    zero = bit_targets(features, BitHistory(2, schedule, 8), [flip[None].expand(2, -1, -1) for flip in zeros])
    plain = teacher_inputs(BitHistory(2, schedule, 8), none.labels)
    for a, b, c in zip(none.inputs, zero.inputs, plain):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert all(torch.equal(a, b) for a, b in zip(none.labels, zero.labels))


def test_flipping_the_first_scale_changes_the_labels_behind_it_alone(schedule):
    features = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = bit_targets(features, BitHistory(2, schedule, 8))
    flipped = bit_targets(features, BitHistory(2, schedule, 8), [torch.ones(2, 1, 8, dtype=torch.bool)])
    assert torch.equal(flipped.labels[0], plain.labels[0])
    assert all(not torch.equal(a, b) for a, b in zip(flipped.labels[1:], plain.labels[1:]))


def test_rates_of_flips_are_drawn_for_each_scale_and_sample():
    schedule = ScaleSchedule.square(16, 16, 16)
    flips = [draw_flips(schedule, 32, i, SampleRng(0), strength=0.3, layers=2) for i in range(200)]
    assert all(len(sample) == 2 for sample in flips)
    rates = torch.tensor([[scale.float().mean() for scale in sample] for sample in flips])
    assert rates.max() < 0.32
    assert abs(rates.mean().item() - 0.15) < 0.02
    assert abs(torch.corrcoef(rates.T)[0, 1].item()) < 0.2
    nearest = (rates * 100).round() / 100
    assert ((rates - nearest).abs() < 0.02).all()


def test_a_batch_can_share_the_rates_of_its_flips(tiny):
    schedule = ScaleSchedule.square(12, 16)
    own, shared = (
        InfinityObjective(InfinityTraining(flip_rates=rates), tiny, schedule).prepare(
            [{"index": 7 + i, "features": torch.zeros(8, 16, 16), "text": torch.zeros(1, 24)} for i in range(32)],
            SampleRng(3),
        )
        for rates in ("sample", "batch")
    )
    for prepared, spread in ((own, 0.05), (shared, 0.0)):
        for scale in schedule.split(prepared.tensors["flips"]):
            found = scale.float().mean((1, 2)).std()
            # What is left of it are the flips themselves: 1000 bits at a rate of at most 0.3 differ by about 0.015.
            assert found > spread if spread else found < 0.025


def test_recomputing_blocks_changes_no_gradient(tiny, schedule, monkeypatch):
    passes, gradients = [], []
    forward = type(tiny.blocks[0]).forward
    monkeypatch.setattr(
        type(tiny.blocks[0]),
        "forward",
        lambda self, *given, **named: (passes.append(self.layer), forward(self, *given, **named))[1],
    )
    for recompute in (False, True):
        objective = InfinityObjective(InfinityTraining(gradient_checkpointing=recompute), tiny, schedule)
        loss = objective.sums({"model": tiny}, objective.prepare(_samples(), SampleRng(0)))["bits"]
        gradients.append(torch.autograd.grad(loss, list(tiny.parameters())))
        assert len(passes) == (6 if recompute else 3)
        passes.clear()
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(recomputed, plain)


def test_sums_do_not_depend_on_the_batch(tiny, schedule):
    objective = InfinityObjective(InfinityTraining(condition_dropout=0.5), tiny, schedule)
    samples = _samples()
    whole = _sums(objective, tiny, samples)
    parts = [_sums(objective, tiny, [sample]) for sample in samples]
    for name, value in whole.items():
        assert value == pytest.approx(sum(part[name] for part in parts), abs=1e-4)


def test_dropped_texts_are_the_learned_one_and_the_sample_stays_as_it_is(tiny, schedule):
    objective = InfinityObjective(replace(PLAIN, condition_dropout=1.0), tiny, schedule)
    samples = _samples()
    texts = [sample["text"].clone() for sample in samples]
    prepared = objective.prepare(samples, SampleRng(0))
    loss = objective.sums({"model": tiny}, prepared)["bits"]
    assert all(torch.equal(sample["text"], text) for sample, text in zip(samples, texts))
    (gradient,) = torch.autograd.grad(loss, [tiny.null_text])
    longest = max(len(text) for text in texts)
    assert gradient[:longest].abs().amax(1).min() > 0
    assert gradient[longest:].abs().max() == 0
    null = [{**s, "text": tiny.null_text[: len(s["text"])].detach()} for s in samples]
    kept = InfinityObjective(PLAIN, tiny, schedule)
    assert _sums(kept, tiny, null)["bits"] == pytest.approx(loss.item(), abs=1e-4)
    share = [objective.prepare([{**samples[0], "index": i}], SampleRng(0)).tensors["dropped"].item() for i in range(5)]
    assert all(share)


def test_about_one_text_in_ten_is_dropped(tiny, schedule):
    objective = InfinityObjective(InfinityTraining(flip_strength=0.0), tiny, schedule)
    sample = _samples(1)[0]
    dropped = objective.prepare([{**sample, "index": i} for i in range(2000)], SampleRng(0)).tensors["dropped"]
    assert 0.07 < dropped.float().mean().item() < 0.13


def test_training_on_the_first_scales(tiny, schedule):
    whole = InfinityObjective(replace(PLAIN, weighting="tokens"), tiny, schedule)
    first = InfinityObjective(replace(PLAIN, weighting="tokens", trained_scales=2), tiny, schedule)
    prepared = first.prepare(_samples(), SampleRng(0))
    found = first.sums({"model": tiny}, prepared)["bits"]
    assert prepared.meta["tokens"] == 4 * 5
    features = torch.stack([sample["features"] for sample in _samples()])
    targets = bit_targets(features, BitHistory(4, schedule, 8))
    text = whole._text({}, prepared.tensors)
    logits = tiny(targets.inputs, text, schedule)[:, :5]
    losses, _ = bit_losses(logits, torch.cat(targets.labels[:2], dim=1))
    torch.testing.assert_close(found, losses.mean((1, 2)).sum())


def test_samples_that_do_not_fit_are_refused(tiny, schedule):
    objective = InfinityObjective(PLAIN, tiny, schedule)
    sample = _samples(1)[0]
    with pytest.raises(DataError, match="sample 10 has no 'text'"):
        objective.prepare([{k: v for k, v in sample.items() if k != "text"}], SampleRng(0))
    with pytest.raises(DataError, match="sample 10 has neither 'image' nor 'features'"):
        objective.prepare([{k: v for k, v in sample.items() if k != "features"}], SampleRng(0))
    with pytest.raises(DataError, match="give all of a run one size"):
        objective.prepare([sample, {**sample, "features": torch.zeros(8, 2, 2)}], SampleRng(0))
    with pytest.raises(DataError, match="a text of 7 tokens was given and the model takes 6"):
        _sums(objective, tiny, [{**sample, "text": torch.zeros(7, 24)}])
    with pytest.raises(DataError, match="width 23 were given and the model takes 24"):
        _sums(objective, tiny, [{**sample, "text": torch.zeros(2, 23)}])
    with pytest.raises(ConfigError, match=r"features of shape \[8, 2, 2\] were given"):
        _sums(objective, tiny, [{**sample, "features": torch.zeros(8, 2, 2)}])


@pytest.mark.parametrize(
    ("values", "part"),
    [({"flip_strength": 1.5}, "flip_strength is 1.5"), ({"flip_strength": 0.004}, "steps of 0.01"), ({"flip_rates": "rank"}, "choose sample or batch"), ({"trained_scales": 0}, "trained_scales is 0"),
     ({"bit_loss": "max"}, "choose mean or sum"), ({"flip_scales": -1}, "flip_scales is -1")],
)  # fmt: skip
def test_settings_out_of_range(values, part):
    with pytest.raises(ConfigError, match=part):
        InfinityTraining(**values)
