"""The loss over pairs: the recorded case, closed forms, limits, and what it is minimised by."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_vision.cca import objective as module
from ar_vision.cca.config import CcaConfig, CcaPairs
from ar_vision.cca.losses import pair_losses
from ar_vision.cca.objective import CcaObjective
from ar_vision.cca.pairs import paired
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

LABELS = (3, 3, 7, 1)


@pytest.fixture
def step(table, monkeypatch):
    """From logits, targets, labels, null samples and settings to loss, gradient of the logits and the rest of a whole step."""
    model_type, likelihood_type = table

    def run(logits, reference, targets, null, config, labels=LABELS, num_classes=1000):
        monkeypatch.setattr(module, "drops_condition", lambda rate, rng, index: bool(null[index]))
        samples = list(paired([{"index": n, "label": label} for n, label in enumerate(labels)]))
        objective = CcaObjective(config, likelihood_type(targets, num_classes))
        prepared = objective.prepare(samples, SampleRng(0))
        models = {"model": model_type(logits), "reference": model_type(reference), "tokenizer": nn.Identity()}
        models["reference"].requires_grad_(False)
        sums = objective.sums(models, prepared)
        loss = objective.coefficients[config.loss] * sums[config.loss] / prepared.weights[config.loss]
        loss.backward()
        return loss.detach(), models["model"].logits.grad, prepared, sums

    return run


@pytest.fixture
def recorded(golden_dir):
    path = golden_dir / "vision_a" / "cca_losses.safetensors"
    with safe_open(path, "pt") as file:
        runs = json.loads(file.metadata()["runs"])
    return load_file(path), runs


@pytest.fixture
def logits():
    """Random tables of four samples, six codes and 16 ids in float64, and targets."""
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(2, 4, 6, 16, generator=generator, dtype=torch.float64) for _ in range(2)]
    return (*tables, torch.randint(16, (4, 6), generator=generator))


NAMES = ("cca_u0", "cca_u0.4", "cca_u0.4_l0.5", "cca_beta1_u0.4", "dpo_u0.4", "unlearn_u0.4", "unlearn_u0")


@pytest.mark.parametrize("name", NAMES)
def test_recorded_losses_gradients_and_labels(recorded, step, name):
    tensors, runs = recorded
    assert set(runs) == set(NAMES)
    settings = runs[name]
    published = settings["uncond_ratio"] == 0
    config = CcaConfig(
        loss=settings["loss_type"].lower(),
        beta=settings["beta"],
        negative_weight=settings["lambda_"],
        uncond_ratio=settings["uncond_ratio"],
        # What published code does without null samples.
        normalize=not published,
        same_class="negative" if published else "positive",
    )
    policy, reference = (tensors[key].view(2, 4, 6, 16) for key in ("policy_logits", "ref_logits"))
    loss, gradient, prepared, _ = step(policy, reference, tensors["gt"].long(), settings["uncond_mask"], config)
    assert torch.allclose(loss, tensors[f"{name}.loss"], rtol=2e-6)
    expected = tensors[f"{name}.grad"].view_as(gradient)
    assert (gradient - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert torch.equal(prepared.tensors["labels"].flatten(), tensors[f"{name}.labels_seen"].long())


def test_recorded_log_probabilities(recorded, table):
    tensors, _ = recorded
    model_type, likelihood_type = table
    likelihood = likelihood_type(tensors["gt"].long(), 1000)
    laid = likelihood.lay([{"index": n} for n in range(4)], None)
    for logits, names in (("policy_logits", "logp"), ("ref_logits", "ref_logp")):
        found = likelihood.log_probs(
            model_type(tensors[logits].view(2, 4, 6, 16)), nn.Identity(), laid, torch.zeros(2, 4), None
        )
        assert torch.allclose(found[0], tensors[f"{names}_pos"], rtol=1e-6)
        assert torch.allclose(found[1], tensors[f"{names}_neg"], rtol=1e-6)


@pytest.mark.parametrize("negative_weight", [0.3, 1.0, 50.0])
@pytest.mark.parametrize("null", [(0, 0, 0, 0), (0, 1, 0, 0)])
def test_oracle_1_at_the_start_the_loss_is_ln_2_times_what_pairs_weigh(step, logits, negative_weight, null):
    start, _, targets = logits
    config = CcaConfig(negative_weight=negative_weight)
    loss, _, _, sums = step(start, start, targets, null, config)
    # The first sample's neighbour is of its own class.
    weights = [1.0 if n == 0 or null[n] else negative_weight for n in range(4)]
    assert loss == pytest.approx(math.log(2) * (1 + sum(weights) / 4) / max(negative_weight, 1), rel=1e-14)
    for name in ("margin", "gap_real", "gap_mismatched", "gap_null", "accuracy"):
        assert sums[name] == 0
    plain = CcaConfig(negative_weight=negative_weight, normalize=False, same_class="negative")
    loss, *_ = step(start, start, targets, (0, 0, 0, 0), plain)
    assert loss == pytest.approx(math.log(2) * (1 + negative_weight), rel=1e-14)


@pytest.mark.parametrize("same_class", ["positive", "negative"])
@pytest.mark.parametrize("null", [(0, 0, 0, 0), (0, 1, 0, 1)], ids=["u=0", "u>0"])
@pytest.mark.parametrize("negative_weight", [0.5, 50.0])
@pytest.mark.parametrize("loss", ["cca", "dpo", "unlearning"])
def test_oracle_2_loss_and_gradient_are_those_of_the_closed_form(step, logits, loss, negative_weight, null, same_class):
    policy, reference, targets = logits
    config = CcaConfig(loss=loss, negative_weight=negative_weight, beta=0.3, same_class=same_class)
    found, gradient, *_ = step(policy, reference, targets, null, config)
    leaf = policy.clone().requires_grad_()
    ratios = [(one.log_softmax(-1) * F.one_hot(targets, 16)).sum((-1, -2)) for one in (leaf, reference)]
    real, other = ratios[0] - ratios[1]
    expected = 0.0
    for n in range(4):
        positive = bool(null[n]) or (same_class == "positive" and LABELS[n] == LABELS[(n + 1) % 4])
        sign, weight = (1, 1) if positive else (-1, negative_weight)
        if loss == "cca":
            term = -torch.sigmoid(0.3 * real[n]).log() - weight * torch.sigmoid(sign * 0.3 * other[n]).log()
        elif loss == "dpo":
            term = -torch.sigmoid(0.3 * (real[n] - other[n])).log()
        else:
            term = -real[n] - weight * sign * other[n]
        expected = expected + term / 4
    expected = expected / (1 if loss == "dpo" else max(negative_weight, 1))
    (wanted,) = torch.autograd.grad(expected, leaf)
    assert float(found - expected.detach()) == pytest.approx(0, abs=1e-10)
    assert (gradient - wanted).abs().max() < 1e-10


def test_oracle_3_null_samples_are_attracted_twice(step, logits):
    policy, reference, targets = logits
    # Under the null class both rows are one.
    policy, reference = (one[:1].repeat(2, 1, 1, 1) for one in (policy, reference))
    for negative_weight in (0.5, 50.0):
        config = CcaConfig(negative_weight=negative_weight, uncond_ratio=1.0)
        loss, _, prepared, sums = step(policy, reference, targets, (1, 1, 1, 1), config)
        assert (prepared.tensors["labels"] == 1000).all()
        gap = [(x[0].log_softmax(-1) * F.one_hot(targets, 16)).sum((-1, -2)) for x in (policy, reference)]
        expected = -2 * F.logsigmoid(0.02 * (gap[0] - gap[1])).mean() / max(negative_weight, 1)
        assert loss == pytest.approx(float(expected), rel=1e-12)
        assert float(sums["gap_null"]) == pytest.approx(float((gap[0] - gap[1]).sum()), rel=1e-10)
        assert prepared.weights["accuracy"] == prepared.weights["gap_real"] == 0


@pytest.mark.parametrize("loss", ["cca", "dpo", "unlearning"])
def test_dpo_alone_learns_nothing_from_null_samples(step, logits, loss):
    policy, reference, targets = logits
    policy, reference = (one[:1].repeat(2, 1, 1, 1) for one in (policy, reference))
    config = CcaConfig(loss=loss, negative_weight=2.0)
    gradient = step(policy, reference, targets, (0, 1, 0, 0), config)[1]
    assert bool((gradient[0] + gradient[1])[1].abs().max() > 1e-6) == config.trains_null == (loss != "dpo")


def test_oracle_4_without_negatives_positives_remain(step, logits):
    policy, reference, targets = logits
    loss, gradient, *_ = step(policy, reference, targets, (0, 0, 1, 0), CcaConfig(negative_weight=0.0))
    log_ratio = [(x.log_softmax(-1) * F.one_hot(targets, 16)).sum((-1, -2)) for x in (policy, reference)]
    real, other = log_ratio[0] - log_ratio[1]
    # Sample 0 meets its own class, sample 2 none.
    expected = -F.logsigmoid(0.02 * real).mean() - F.logsigmoid(0.02 * other[[0, 2]]).sum() / 4
    assert loss == pytest.approx(float(expected), rel=1e-12)
    assert not gradient[1, [1, 3]].any()
    assert gradient[1, [0, 2]].any()


def test_oracle_5_small_beta_is_unlearning(step, logits):
    policy, reference, targets = logits
    null, settings = (0, 1, 0, 0), {"negative_weight": 30.0, "normalize": False}
    _, found, *_ = step(policy, reference, targets, null, CcaConfig(beta=1e-4, **settings))
    _, wanted, *_ = step(policy, reference, targets, null, CcaConfig(loss="unlearning", **settings))
    assert F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) >= 0.999
    assert (found / 1e-4 - wanted / 2).abs().max() <= 2e-3 * wanted.abs().max()
    # And a large one is not.
    _, far, *_ = step(policy, reference, targets, null, CcaConfig(beta=3.0, **settings))
    assert F.cosine_similarity(far.flatten(), wanted.flatten(), dim=0) < 0.99


CLASSES = torch.tensor([0.3, 0.7], dtype=torch.float64)
IMAGES = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
"""p(c) and p(x|c) of two classes and four images."""


def _expected_loss(gaps: torch.Tensor, config: CcaConfig) -> torch.Tensor:
    """Over all images, their classes, and classes drawn on their own: a chance meeting with the own class is a negative here."""
    total = 0.0
    for c in range(2):
        for other in range(2):
            losses = pair_losses(gaps[c], gaps[other], torch.zeros(4, dtype=torch.bool), config)
            total = total + CLASSES[c] * CLASSES[other] * (IMAGES[c] * losses).sum()
    return total


def _minimised(parameters: torch.Tensor, loss) -> torch.Tensor:
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(parameters)
        value.backward()
        return value

    optimizer.step(closure)
    return parameters.detach()


@pytest.mark.parametrize("negative_weight", [0.5, 1.0, 20.0])
def test_oracle_11_free_log_ratios_become_those_of_class_and_image_less_log_lambda(negative_weight):
    config = CcaConfig(negative_weight=negative_weight, beta=0.4)
    gaps = _minimised(torch.zeros(2, 4, dtype=torch.float64, requires_grad=True), lambda x: _expected_loss(x, config))
    expected = IMAGES.log() - (CLASSES @ IMAGES).log() - math.log(negative_weight)
    assert (config.beta * gaps - expected).abs().max() <= 1e-3


@pytest.mark.parametrize("negative_weight", [1.0, 20.0])
def test_oracle_11_a_model_that_is_normalised_ends_elsewhere(negative_weight):
    """At its minimum the slope along log p is p times one number a class; the slope is written out by hand here."""
    config, beta = CcaConfig(negative_weight=negative_weight, beta=0.4), 0.4
    start = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.2, 0.2, 0.3, 0.3]], dtype=torch.float64)

    def loss(free: torch.Tensor) -> torch.Tensor:
        return _expected_loss(free.log_softmax(-1) - start.log(), config)

    found = _minimised(start.log().clone().requires_grad_(), loss).softmax(-1)
    ratio = beta * (found / start).log()
    attracted = CLASSES[:, None] * IMAGES * torch.sigmoid(-ratio)
    repelled = negative_weight * CLASSES[:, None] * (CLASSES @ IMAGES) * torch.sigmoid(ratio)
    multiplier = (beta * (repelled - attracted)) / found
    assert (multiplier - multiplier.mean(1, keepdim=True)).abs().max() <= 1e-5
    free = IMAGES.log() - (CLASSES @ IMAGES).log() - math.log(negative_weight)
    assert (ratio - free).abs().max() > 0.05
    # It moves towards what tells the classes apart: more than the data, were it to sample them.
    assert found[0, 0] / found[0, 3] > start[0, 0] / start[0, 3]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"beta": math.nan}, "beta is nan"),
        ({"negative_weight": -1.0}, "negative_weight is -1.0"),
        ({"negative_weight": math.inf}, "negative_weight is inf"),
        ({"uncond_ratio": 1.5}, r"uncond_ratio is 1.5; it must lie in \[0, 1\]"),
        ({"negative_group": 1}, "negative_group is 1"),
        ({"reference_batch_size": 0}, "reference_batch_size is 0"),
        ({"max_logits": 0}, "max_logits is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        CcaConfig(**{"negative_weight": 1.0, **settings})


def test_oracle_6_a_step_of_one_sample_has_no_negatives():
    with pytest.raises(ConfigError, match="batch_size is 1, and every sample is contrasted with the class of another"):
        CcaPairs().group(1)
    with pytest.raises(ConfigError, match="negative_group is 4 and batch_size 6"):
        CcaPairs(negative_group=4).group(6)
    assert (CcaPairs().group(6), CcaPairs(negative_group=2).group(6)) == (6, 2)
