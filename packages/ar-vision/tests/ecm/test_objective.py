"""The loss of the first scales: points 5 to 7 of the oracles, dropout, kinds."""

from itertools import islice

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.training import Job, TrainConfig, train
from ar_vision.backbones.scale_transformer.objective import TERM
from ar_vision.ecm.base_pass import BasePass
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.ecm.controls.extract import extractor_of
from ar_vision.ecm.objective import EcmObjective
from ar_vision.ecm.objective_config import EcmObjectiveConfig
from ar_vision.ecm.prefix_law import PrefixLaw

CANNY = (ControlConfig(),)
FULL = PrefixLaw(law="full")
TOTAL = 30


class Pictures:
    """Random codes, classes and pictures, without end."""

    def open(self, start):
        index = start
        while True:
            generator = torch.Generator().manual_seed(index)
            yield {
                "index": index,
                "codes": torch.randint(24, (TOTAL,), generator=generator),
                "label": torch.tensor(index % 5),
                "kind": index % 2,
                "image": torch.randint(256, (3, 16, 16), generator=generator, dtype=torch.uint8),
            }
            index += 1

    def describe(self):
        return {}


@pytest.fixture
def make_objective(base):
    def make(controller, step_samples=3, controls=CANNY, **settings):
        given = {"label_dropout": 0.0, "control_dropout": 0.0, "prefixes": FULL, **settings}
        return EcmObjective(EcmObjectiveConfig(**given), base, controller, controls, step_samples)

    return make


@pytest.fixture
def models(base, var_tokenizer):
    return lambda controller: {"model": controller, "base": base, "tokenizer": var_tokenizer}


def samples(count, start=0):
    return [{**sample, "kind": 0} for sample in islice(Pictures().open(start), count)]


def test_the_loss_is_the_cross_entropy_of_the_controlled_pass(
    make_controller, make_objective, models, logits, base, var_tokenizer
):
    ecm, batch = make_controller(), samples(3)
    objective = make_objective(ecm)
    prepared = objective.prepare(batch, SampleRng(0))
    pictures = torch.stack([sample["image"] for sample in batch])
    maps = extractor_of(ControlConfig())(pictures)
    assert torch.equal(prepared.tensors["maps"], maps)
    assert 0 < maps.float().mean() < 255
    loss = objective.sums(models(ecm), prepared)[TERM]
    codes, inputs = torch.stack([sample["codes"] for sample in batch]), [None]
    history = var_tokenizer.history(3, base.schedule)
    for scale in base.schedule.split(codes)[:-1]:
        history.add(scale)
        inputs.append(history.next_input())
    condition = base.condition(torch.tensor([0, 1, 2]))
    x = torch.cat([base.embed(k, one, condition, base.schedule) for k, one in enumerate(inputs)], dim=1)
    from ar_vision.backbones.scale_mask import scale_mask

    given = BasePass(base, x, condition, scale=None, mask=scale_mask(base.schedule, x.device))
    hidden = ecm.hidden(given, ecm.features(maps.float() / 127.5 - 1))
    wanted = torch.nn.functional.cross_entropy(
        base.head(hidden, condition).flatten(0, 1), codes.flatten(), reduction="sum"
    )
    torch.testing.assert_close(loss, wanted, atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize("normalisation", ["fixed", "present"])
def test_oracle_7_losses_of_prefixes_average_to_the_weighted_loss_of_the_scales(
    make_controller, make_objective, models, base, var_tokenizer, normalisation
):
    """Enumerated over K' with its probabilities: sum_k P(K' >= k) CE_k / L; present weights add up to 1."""
    ecm, batch = make_controller().double(), samples(2)
    everything = models(ecm)
    base.double()
    var_tokenizer.double()
    law, lengths = PrefixLaw(law="geometric", strength=0.4, p_full=0.2), base.schedule.lengths

    def mean(scales):
        objective = make_objective(ecm, 2, normalisation=normalisation, prefixes=Drawn(scales))
        prepared = objective.prepare(batch, SampleRng(0))
        assert prepared.tensors["codes"].shape[1] == sum(lengths[:scales]) == prepared.meta["tokens"] / 2
        return prepared, float(objective.sums(everything, prepared)[TERM]) / prepared.weights[TERM]

    found = [mean(scales) for scales in range(1, 5)]
    sums = [value * prepared.weights[TERM] / 2 for prepared, value in found]
    # Cross-entropy of each scale, summed over its codes, mean over images.
    of_scale = [after - before for before, after in zip([0.0, *sums], sums)]
    average = sum(probability * value for probability, (_, value) in zip(law.probabilities(4), found))
    if normalisation == "fixed":
        wanted = sum(seen * part / TOTAL for seen, part in zip(law.seen(4), of_scale))
        assert {prepared.weights[TERM] for prepared, _ in found} == {2.0 * TOTAL}
    else:
        wanted = sum(
            probability * sum(of_scale[: k + 1]) / sum(lengths[: k + 1])
            for k, probability in enumerate(law.probabilities(4))
        )
        assert [prepared.weights[TERM] for prepared, _ in found] == [2.0 * sum(lengths[: k + 1]) for k in range(4)]
    assert average == pytest.approx(wanted, abs=1e-9)


class Drawn(PrefixLaw):
    """Always the same number of scales."""

    def __init__(self, scales):
        super().__init__(law="full")
        object.__setattr__(self, "scales", scales)

    def draw(self, count, key):
        return self.scales


def test_oracle_10_a_step_has_one_number_of_scales_however_it_is_split(make_controller, make_objective):
    objective = make_objective(make_controller(), 4, prefixes=PrefixLaw(p_full=0.0))
    rng, seen = SampleRng(3), []
    for step in range(24):
        whole = objective.prepare(samples(4, 4 * step), rng)
        parts = [objective.prepare(samples(2, 4 * step + start), rng) for start in (0, 2)]
        assert {part.meta["scales"] for part in parts} == {whole.meta["scales"]}
        assert torch.equal(torch.cat([part.tensors["codes"] for part in parts]), whole.tensors["codes"])
        seen.append(whole.meta["scales"])
    assert set(seen) == {1, 2, 3, 4}


def test_steps_see_as_many_codes_as_the_law_says(make_controller, make_objective):
    """Section 3.4, on what training counts: so many of 30 on average."""
    law = PrefixLaw()
    read = (ControlConfig(kind="depth", maps="somewhere"),)
    objective = make_objective(make_controller(fresh=True), 1, controls=read, prefixes=law)
    one = {**samples(1)[0], "map": torch.zeros(3, 16, 16, dtype=torch.uint8)}
    del one["image"]
    counts = [objective.prepare([{**one, "index": step}], SampleRng(0)).meta["tokens"] for step in range(400)]
    expected = sum(share * length for share, length in zip(law.seen(4), (1, 4, 9, 16)))
    assert expected == pytest.approx(30 * 0.25 + 0.75 * (1 + 5 + 14 + 30) / 4)
    assert sum(counts) / 400 == pytest.approx(expected, abs=1.5)


def test_metrics_of_scales_that_are_not_seen_have_no_weight(make_controller, make_objective, models):
    ecm = make_controller()
    objective = make_objective(ecm, accuracy=True, prefixes=Drawn(2))
    prepared = objective.prepare(samples(3), SampleRng(0))
    assert prepared.weights == {TERM: 15.0, "accuracy_1x1": 3.0, "accuracy_2x2": 12.0}
    assert set(objective.sums(models(ecm), prepared)) == set(prepared.weights)


def test_a_dropped_control_is_the_null_control_whatever_the_map(make_controller, make_objective, models):
    ecm = make_controller()
    dropped = make_objective(ecm, control_dropout=1.0)
    one = dropped.prepare(samples(3), SampleRng(0))
    other = dropped.prepare(samples(3), SampleRng(0))
    other.tensors["maps"] = 255 - other.tensors["maps"]
    assert one.tensors["dropped"].all()
    first, second = (dropped.sums(models(ecm), prepared)[TERM] for prepared in (one, other))
    assert torch.equal(first, second)
    kept = make_objective(ecm)
    three = kept.prepare(samples(3), SampleRng(0))
    assert not torch.allclose(kept.sums(models(ecm), three)[TERM], first, rtol=1e-3)
    features = ecm.features(torch.zeros(2, 3, 16, 16), dropped=torch.tensor([True, False]))
    assert torch.equal(features[0], ecm.null_control.expand_as(features[0]))


def test_shares_of_dropped_controls_and_classes_are_those_of_the_config(make_controller, make_objective):
    objective = make_objective(make_controller(), 300, label_dropout=0.3, control_dropout=0.2, joint_dropout=0.1)
    tensors = objective.prepare(samples(300), SampleRng(1)).tensors
    dropped, null = tensors["dropped"].float(), (tensors["labels"] == 5).float()
    assert dropped.mean() == pytest.approx(0.28, abs=0.08)
    assert null.mean() == pytest.approx(0.37, abs=0.09)
    assert (dropped * null).mean() == pytest.approx(0.1 + 0.9 * 0.06, abs=0.06)


def test_samples_of_several_kinds_have_the_map_and_the_embedding_of_their_own(make_controller, make_objective, models):
    ecm = make_controller(num_kinds=2)
    controls = (ControlConfig(), ControlConfig(kind="edges"))
    objective = make_objective(ecm, 4, controls=controls)
    batch = list(islice(Pictures().open(0), 4))
    tensors = objective.prepare(batch, SampleRng(0)).tensors
    assert tensors["kinds"].tolist() == [0, 1, 0, 1]
    pictures = torch.stack([sample["image"] for sample in batch])
    for number, control in enumerate(controls):
        rows = tensors["kinds"] == number
        assert torch.equal(tensors["maps"][rows], extractor_of(control)(pictures[rows]))
    maps = torch.zeros(2, 3, 16, 16)
    apart = ecm.features(maps, kinds=torch.tensor([0, 1]))
    difference = (apart[1] - apart[0]).detach()
    torch.testing.assert_close(
        difference, (ecm.type_embed[1] - ecm.type_embed[0]).expand_as(difference).detach(), atol=1e-5, rtol=0
    )


def test_maps_that_are_read_are_taken_as_they_are(make_controller, make_objective):
    objective = make_objective(make_controller(), 2, controls=(ControlConfig(kind="depth", maps="somewhere"),))
    batch = samples(2)
    for sample in batch:
        sample["map"] = sample.pop("image")
    assert torch.equal(objective.prepare(batch, SampleRng(0)).tensors["maps"], torch.stack([s["map"] for s in batch]))


@pytest.mark.parametrize("kind", ["ecm", "lora", "full", "car"])
def test_oracles_5_and_6_the_base_is_bit_identical_after_steps_and_has_no_gradient(
    make_controller, make_objective, models, base, kind
):
    controller = make_controller(kind, fresh=True)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    own = {name: value.clone() for name, value in controller.state_dict().items()}
    objective = make_objective(controller, 4, prefixes=PrefixLaw(), control_dropout=0.3)
    job = Job(objective=objective, models=models(controller), source=One())
    result = train(job, TrainConfig(steps=6, batch_size=4, lr=1e-2, weight_decay=0.05, device="cpu"))
    assert len(result.losses) == 6
    assert all(torch.equal(value, base.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in base.parameters())
    moved = [name for name, value in own.items() if not torch.equal(value, controller.state_dict()[name])]
    assert len(moved) > len(own) / 2


class One(Pictures):
    """All of the first kind."""

    def open(self, start):
        return ({**sample, "kind": 0} for sample in super().open(start))
