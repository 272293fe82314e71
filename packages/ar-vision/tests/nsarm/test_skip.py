"""The LQ image's own residuals beside the outputs of the map: one sum in training and decoding, and what it begins with."""

import json

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import read_run_config
from ar_vision.backbones.infinity.objective import TERM
from ar_vision.backbones.infinity.objective_config import InfinityTraining
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.nsarm import RECIPE
from ar_vision.nsarm.config import MapConfig
from ar_vision.nsarm.decode import NsarmOptions, upscale
from ar_vision.nsarm.objective import MAP, PREFIX_ACCURACY, JointObjective, MapObjective
from ar_vision.nsarm.objective_config import NsarmTraining
from ar_vision.nsarm.targets import residual_targets
from ar_vision.text.encoder import build_text_encoder

SETTINGS = {"grid": 8, "enlarged": 4, "norm": "channels", "layout": "spatial", "skip": True}
STAGES = ("map", "joint")


@pytest.fixture
def moved(make_nsarm):
    """A model with the skip whose outputs are no longer 0."""
    return make_nsarm(**SETTINGS)


@pytest.fixture
def fresh(moved):
    """The same with the weights that training begins with."""
    moved.initialize(torch.Generator().manual_seed(0))
    return moved


@pytest.fixture
def own_features(tokenizer, low):
    """Of the LQ images, enlarged to the size of the results."""
    large = torch.nn.functional.interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)
    return tokenizer.encode(large.clamp(-1, 1))


def own_residuals(model, tokenizer, features):
    return residual_targets(features, tokenizer.history(len(features), model.config.schedule), model.config.map.count)


def sides(model, tokenizer, images, stage):
    """Objective, models and a prepared batch of a stage."""
    encoder = build_text_encoder(model.config.transformer.texts)
    still = InfinityTraining(flip_strength=0.0, condition_dropout=0.0)
    training = NsarmTraining(stage=stage, degradation="light", transformer=still)
    objective = MapObjective(training, model.config) if stage == "map" else JointObjective(training, model, encoder)
    samples = [{"index": n, "image": image} for n, image in enumerate(images)]
    models = {"model": model.transformer, "map": model.map, "tokenizer": tokenizer, "text": encoder}
    return objective, models, objective.prepare(samples, SampleRng(0))


def test_a_fresh_map_is_the_copy_of_the_small_image(fresh, tokenizer, low, own_features):
    """Exactly, whatever M computes in."""
    own = own_residuals(fresh, tokenizer, own_features)
    found = fresh.residuals(tokenizer, low)
    assert all(torch.equal(one, other) for one, other in zip(found, own, strict=True))
    for one, bits in zip(found, tokenizer.quantize(own_features, fresh.config.schedule)):
        assert torch.equal((one > 0).flatten(2).transpose(1, 2), bits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(torch.equal(one, other) for one, other in zip(fresh.residuals(tokenizer, low), own, strict=True))
    fresh.map.bfloat16()
    assert all(torch.equal(one, other) for one, other in zip(fresh.residuals(tokenizer, low), own, strict=True))


def test_outputs_are_added_to_what_the_small_image_has(moved, tokenizer, low, own_features):
    own = own_residuals(moved, tokenizer, own_features)
    outputs = moved.map.residuals(own_features)
    for found, one, other in zip(moved.residuals(tokenizer, low), own, outputs, strict=True):
        torch.testing.assert_close(found, one + other, atol=1e-6, rtol=0)
        # Neither of the two alone has these signs.
        assert not torch.equal(found > 0, one > 0)
        assert not torch.equal(found > 0, other > 0)


@pytest.mark.parametrize("stage", STAGES)
def test_training_and_decoding_use_the_same_sum(moved, tokenizer, high, text, monkeypatch, stage):
    objective, models, prepared = sides(moved, tokenizer, high, stage)
    targets, scored = [], JointObjective.scored
    monkeypatch.setattr(JointObjective, "scored", lambda self, *rest: (targets.append(rest[2]), scored(self, *rest))[1])
    found = {name: value.detach() for name, value in objective.sums(models, prepared).items()}
    low, image = prepared.tensors["low"], prepared.tensors["image"]
    decoded = upscale(moved, tokenizer, low, text, NsarmOptions(temperature=(0.0,))).codes[: moved.config.map.count]
    true = tokenizer.quantize(tokenizer.encode(image), moved.config.schedule)
    right = torch.cat([(one == other).flatten(1) for one, other in zip(decoded, true)], dim=1)
    assert float(found[PREFIX_ACCURACY]) == pytest.approx(float(right.float().mean(1).sum()), abs=1e-6)
    predicted = [one.detach() for one in moved.residuals(tokenizer, low)]
    wanted = own_residuals(moved, tokenizer, tokenizer.encode(image))
    errors = torch.cat([(one - other).square().flatten(1) for one, other in zip(predicted, wanted)], dim=1)
    assert float(found[MAP]) == pytest.approx(float(errors.mean(1).sum()), rel=1e-5)
    if stage == "joint":
        # What later scales see in training begins with the bits that decoding writes.
        assert all(torch.equal(one, other) for one, other in zip(targets[0].labels, decoded))


@pytest.mark.parametrize("stage", STAGES)
def test_a_gradient_reaches_the_outputs_first_and_all_of_the_map_behind_one_step(fresh, tokenizer, high, stage):
    objective, models, prepared = sides(fresh, tokenizer, high, stage)
    parameters = dict(fresh.map.named_parameters())
    optimiser = torch.optim.AdamW(parameters.values(), lr=1e-3)

    def reached():
        optimiser.zero_grad()
        objective.sums(models, prepared)[MAP if stage == "map" else TERM].backward()
        return {name for name, one in parameters.items() if one.grad is not None and float(one.grad.abs().max()) > 0}

    last = {f"branches.{scale}.output.3.{name}" for scale in range(2) for name in ("weight", "bias")}
    assert reached() == last
    optimiser.step()
    assert reached() >= last | {"stem.0.weight", "branches.1.encoder.layers.1.linear1.weight"}


def test_only_a_map_with_the_skip_begins_with_outputs_of_zero(make_nsarm):
    weights = []
    for skip in (False, True):
        model = make_nsarm(**SETTINGS | {"skip": skip})
        model.initialize(torch.Generator().manual_seed(3))
        weights.append(model.map.state_dict())
    for name, plain in weights[0].items():
        if ".output.3." in name:
            assert float(plain.abs().max()) > 0
            assert float(weights[1][name].abs().max()) == 0
        else:
            assert torch.equal(plain, weights[1][name])


def test_checkpoints_say_whether_there_is_a_skip(moved, tokenizer, low, tmp_path):
    save_checkpoint(tmp_path, moved, tokenizer=fingerprint(tokenizer))
    found = load_checkpoint(tmp_path, "upscaler").model
    assert found.config.map.skip
    for one, other in zip(found.residuals(tokenizer, low), moved.residuals(tokenizer, low), strict=True):
        assert torch.equal(one, other)
    # A checkpoint that says nothing of it is of a map without.
    record = json.loads((tmp_path / "config.json").read_text())
    del record["config"]["map"]["skip"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    assert not load_checkpoint(tmp_path, "upscaler").model.config.map.skip


def test_the_small_configs_have_the_skip_and_the_published_do_not():
    skips = {name: read_run_config(RECIPE, name, []).model.map.skip for name in ("photographs128", "tiny", "8b")}
    assert skips == {"photographs128": True, "tiny": False, "8b": False}
    assert not MapConfig().skip


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layout": "memory"}, "outputs of the layout memory describe no place: give layout spatial, or leave skip"),
        ({"enlarged": 1, "grid": 2}, "map.enlarged is 1 where results are 4 times as large: give enlarged 4, or leave"),
    ],
)
def test_a_skip_that_does_not_fit_is_refused(make_nsarm, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_nsarm(**SETTINGS | settings)
