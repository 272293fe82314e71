"""The objective: what it is taken over, its sums by hand, its noise, and that it can be learned."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.training import Prepared
from ar_vision.distilled_decoding.config import DistilledDecodingConfig
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.initialisation import build_student
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.objective import DistilledDecodingObjective
from ar_vision.distilled_decoding.pairs.draw import draw_pairs
from ar_vision.distilled_decoding.sequence import features_of
from ar_vision.distilled_decoding.student import perturbed
from ar_vision.distilled_decoding.teacher import code_vectors
from torch import nn

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])
PLAIN = DistilledDecodingConfig(timesteps=(0, 2), split=2)


def samples(teacher, count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "index": number,
            "label": number % 5,
            "seed": 1000 + number,
            "codes": torch.randint(24, (teacher.units.total,), generator=generator),
        }
        for number in range(count)
    ]


@pytest.fixture
def parts(make_teacher, make_student):
    """Teacher, student, models and an objective."""

    def make(kind, config=PLAIN, **more):
        teacher = make_teacher(kind)
        student = make_student(teacher, timesteps=config.timesteps, split=config.split).requires_grad_(True)
        models = {"model": student, "tokenizer": teacher.tokenizer}
        return teacher, student, models, DistilledDecodingObjective(config, student, batch_size=6, **more)

    return make


@KINDS
@pytest.mark.parametrize("divided", [False, True], ids=["both heads everywhere", "each on its side"])
def test_sums_by_hand(parts, kind, divided):
    config = replace(PLAIN, split_losses=divided)
    teacher, student, models, objective = parts(kind, config, accuracy=True)
    batch = samples(teacher)
    prepared = objective.prepare(batch, SampleRng(0))
    found = objective.sums(models, prepared)
    noise = noise_of([one["seed"] for one in batch], teacher.units.total, student.config.code_dim)
    assert torch.equal(prepared.tensors["noise"], noise)
    codes = torch.stack([one["codes"] for one in batch])
    clean, split = prepared.tensors["clean"], teacher.units.tokens(2)
    assert set(clean.sum(1).tolist()) == {0, split}, "both timesteps are there"
    data = code_vectors(teacher.tokenizer)[codes]
    condition = student.condition_of(torch.tensor([one["label"] for one in batch]))
    hidden = student.hidden(perturbed(data, noise, clean), clean, condition)
    logits, vectors = student.logits(hidden, condition), student.continuous(hidden, condition)
    place = torch.arange(teacher.units.total)
    for_codes = ~clean & (place < split) if divided else ~clean
    for_vectors = ~clean & (place >= split) if divided else ~clean
    cross_entropy = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")
    torch.testing.assert_close(found["code"], cross_entropy[for_codes].sum())
    torch.testing.assert_close(found["vector"], (vectors - data).square().sum(-1)[for_vectors].sum())
    assert int(found["accuracy"]) == int((logits.argmax(-1) == codes)[for_codes].sum())
    assert prepared.weights == {
        "code": float(for_codes.sum()),
        "vector": float(for_vectors.sum() * student.config.code_dim),
        "accuracy": float(for_codes.sum()),
    }
    assert objective.coefficients == {"code": 1.0, "vector": 1.0}


@KINDS
def test_sums_of_parts_are_the_sums_of_the_whole(parts, kind):
    teacher, _, models, objective = parts(kind)
    batch = samples(teacher)
    whole = objective.prepare(batch, SampleRng(0))
    halves = [objective.prepare(batch[:2], SampleRng(0)), objective.prepare(batch[2:], SampleRng(0))]
    for name in ("code", "vector"):
        assert sum(one.weights[name] for one in halves) == whole.weights[name]
        total = sum(objective.sums(models, one)[name] for one in halves)
        torch.testing.assert_close(total, objective.sums(models, whole)[name], rtol=1e-5, atol=1e-3)


def test_timesteps_are_drawn_as_they_are_given_by_the_sample(parts):
    config = replace(PLAIN, timesteps=(0, 1, 3), timestep_probs=(0.5, 0.2, 0.3))
    teacher, _, _, objective = parts("var", config)
    one = samples(teacher, 1)[0]
    batch = [{**one, "index": number} for number in range(3000)]
    given = objective.prepare(batch, SampleRng(0)).tensors["clean"].sum(1)
    for tokens, share in ((0, 0.5), (1, 0.2), (14, 0.3)):
        count = int((given == tokens).sum())
        assert abs(count - 3000 * share) < 4 * (3000 * share * (1 - share)) ** 0.5
    later = objective.prepare(batch[700:705], SampleRng(0)).tensors["clean"].sum(1)
    assert torch.equal(later, given[700:705])
    assert not torch.equal(objective.prepare(batch, SampleRng(1)).tensors["clean"].sum(1), given)
    even = DistilledDecodingConfig(timesteps=(0, 2, 3), split=1)
    assert even.probs == (1 / 3,) * 3


def test_fresh_noise_says_nothing_of_the_codes_and_belongs_to_the_sample(parts):
    teacher, _, models, objective = parts("var", replace(PLAIN, noise="fresh"))
    batch = samples(teacher)
    paired = noise_of([one["seed"] for one in batch], 30, 8)
    fresh = objective.prepare(batch, SampleRng(0)).tensors["noise"]
    assert not (fresh == paired).any()
    assert torch.equal(objective.prepare(batch[3:], SampleRng(0)).tensors["noise"], fresh[3:])
    # The same pair in another epoch has another number, and other noise.
    again = [{**one, "index": one["index"] + 6} for one in batch]
    assert not (objective.prepare(again, SampleRng(0)).tensors["noise"] == fresh).any()
    assert objective.sums(models, objective.prepare(batch, SampleRng(0)))["code"].isfinite()


class Distance(nn.Module):
    """In the place of LPIPS: half the squared difference of each pair of images."""

    def forward(self, images, references):
        return (images - references).square().flatten(1).sum(1) / 2


@KINDS
@pytest.mark.parametrize("divided", [False, True], ids=["both heads everywhere", "each on its side"])
def test_the_perceptual_term_compares_decoded_composites_and_moves_the_continuous_head_alone(parts, kind, divided):
    off = {"ce_weight": 0.0, "mse_weight": 0.0}
    term = {"lpips_weight": 2.0, "lpips": "somewhere", "lpips_start_step": 1}
    config = replace(PLAIN, split_losses=divided, **off, **term)
    teacher, student, models, objective = parts(kind, config)
    models["lpips"] = Distance()
    batch = samples(teacher)
    early = objective.prepare(batch, SampleRng(0))
    assert early.weights == {"lpips": 0.0}
    assert float(objective.sums(models, early)["lpips"].detach()) == 0
    assert objective.prepare(batch[3:], SampleRng(0)).weights == {"lpips": 0.0}, "a later part of the same step"
    batch = [{**one, "index": one["index"] + 6} for one in batch]
    prepared = objective.prepare(batch, SampleRng(0))
    assert prepared.weights == {"lpips": 6.0}
    loss = objective.sums(models, prepared)["lpips"]
    clean = prepared.tensors["clean"]
    data = code_vectors(teacher.tokenizer)[prepared.tensors["codes"]]
    condition = student.condition_of(prepared.tensors["labels"])
    hidden = student.hidden(perturbed(data, prepared.tensors["noise"], clean), clean, condition)
    logits_side = torch.arange(teacher.units.total) < (teacher.units.tokens(2) if divided else 0)
    kept = (clean | logits_side)[..., None]
    composite = torch.where(kept, data, student.continuous(hidden, condition))
    images = [
        teacher.tokenizer.decode(features_of(teacher.tokenizer, one, student.schedule)) for one in (composite, data)
    ]
    torch.testing.assert_close(loss, Distance()(*images).sum())
    loss.backward()
    assert student.continuous_head.linear.weight.grad.abs().sum() > 0
    head = student.head.linear.weight if kind == "var" else student.output.weight
    assert head.grad is None
    assert all(one.grad is None for one in teacher.tokenizer.parameters())


def test_terms_of_weight_0_are_not_computed(parts, monkeypatch):
    teacher, student, models, objective = parts("var", replace(PLAIN, mse_weight=0.0))
    monkeypatch.setattr(student.continuous_head, "forward", lambda *given: pytest.fail("not needed"))
    found = objective.sums(models, objective.prepare(samples(teacher), SampleRng(0)))
    assert found.keys() == {"code"}
    _, other, models, objective = parts("var", replace(PLAIN, ce_weight=0.0))
    monkeypatch.setattr(other, "matrix_head", lambda *given: pytest.fail("not needed"))
    assert objective.sums(models, objective.prepare(samples(teacher), SampleRng(0))).keys() == {"vector"}


@KINDS
def test_bf16_autocast_is_near_and_max_logits_changes_nothing(parts, kind):
    teacher, student, models, objective = parts(kind)
    prepared = objective.prepare(samples(teacher), SampleRng(0))
    whole = objective.sums(models, prepared)
    few = DistilledDecodingObjective(replace(PLAIN, max_logits=50), student, batch_size=6).sums(models, prepared)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = objective.sums(models, prepared)
    for name, value in whole.items():
        torch.testing.assert_close(few[name], value, rtol=1e-5, atol=1e-4)
        assert narrow[name].dtype == torch.float32
        torch.testing.assert_close(narrow[name], value, rtol=0.05, atol=0.5)


def test_tables_and_positions_do_not_decay(parts):
    spared = parts("var")[3].players()[0].no_decay
    for name in ("positions", "scale_embedding.weight", "log_scale", "start"):
        assert name in spared
    assert parts("llamagen")[3].players()[0].no_decay == ()


@pytest.mark.parametrize("kind", ["var", "llamagen"])
def test_oracle_16_64_pairs_are_learned_by_heart(make_teacher, kind):
    """A student of two layers: cross-entropy below 0.1 and 98 % of the codes right, from noise alone."""
    teacher = make_teacher(kind, guidance=1.5)
    labels, seeds = [number % 5 for number in range(64)], list(range(64))
    codes, _ = draw_pairs(teacher, labels, seeds, FlowSolver("heun", 12))
    config = DistilledDecodingConfig(timesteps=(0, 2), timestep_probs=(0.8, 0.2), split=2)
    student = build_student(teacher.model, teacher.tokenizer, timesteps=(0, 2), split=2)
    objective = DistilledDecodingObjective(config, student, batch_size=64, accuracy=True)
    models = {"model": student, "tokenizer": teacher.tokenizer}
    batch = [{"label": a, "seed": b, "codes": c} for a, b, c in zip(labels, seeds, codes, strict=True)]

    def prepared(step) -> Prepared:
        return objective.prepare([{**one, "index": 64 * step + n} for n, one in enumerate(batch)], SampleRng(0))

    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    steps = 180
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        micro = prepared(step)
        found = objective.sums(models, micro)
        loss = sum(found[name] / micro.weights[name] for name in ("code", "vector"))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    only_noise = DistilledDecodingObjective(
        replace(config, timesteps=(0,), timestep_probs=None), student, batch_size=64, accuracy=True
    )
    micro = only_noise.prepare([{**one, "index": n} for n, one in enumerate(batch)], SampleRng(0))
    with torch.no_grad():
        found = only_noise.sums(models, micro)
    assert float(found["code"]) / micro.weights["code"] < 0.1
    assert float(found["accuracy"]) / micro.weights["accuracy"] > 0.98


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": (2,)}, "give 0 and, ascending"),
        ({"timestep_probs": (1.0,)}, "give one for each"),
        ({"timestep_probs": (0.4, 0.4)}, "together 1"),
        ({"timestep_probs": (1.5, -0.5)}, "none negative"),
        ({"split": -1}, "split is -1"),
        ({"noise": "none"}, "choose paired or fresh"),
        ({"ce_weight": -1.0}, "ce_weight is -1.0"),
        ({"mse_weight": float("nan")}, "mse_weight is nan"),
        ({"ce_weight": 0.0, "mse_weight": 0.0}, "nothing is learned"),
        ({"lpips_weight": 1.0}, "lpips names no file"),
        ({"lpips_start_step": -1}, "lpips_start_step is -1"),
        ({"max_logits": 0}, "max_logits"),
    ],
)
def test_settings_that_are_none_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DistilledDecodingConfig(**{"timesteps": (0, 2), "split": 2, **settings})


def test_samples_and_units_that_do_not_fit_are_refused(parts):
    teacher, student, _, objective = parts("var")
    one = samples(teacher, 1)[0]
    with pytest.raises(DataError, match=r"codes of shape \[29\] and the student has 30 tokens"):
        objective.prepare([{**one, "codes": one["codes"][:-1]}], SampleRng(0))
    with pytest.raises(DataError, match="classes run from 0 to 4"):
        objective.prepare([{**one, "label": 5}], SampleRng(0))
    for changed, message in (
        (replace(PLAIN, timesteps=(0, 4)), "there are 4 units"),
        (replace(PLAIN, split=5), "split is 5"),
    ):
        with pytest.raises(ConfigError, match=message):
            DistilledDecodingObjective(changed, student, batch_size=6)
