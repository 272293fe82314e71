"""The objective on real models: exact at the start, under any split, with any dropout; metrics; what gets a gradient."""

import math
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from ar_core.config import from_dict
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.training import Job, Ranks, TrainConfig
from ar_core.training.batches import StepDataset
from ar_core.training.optimizers import build_turns
from ar_core.training.step import OptimizerStep, TrainStep
from ar_kernels import sequence_logprob
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler
from ar_vision.cca.config import CcaConfig
from ar_vision.cca.likelihood import likelihood_of
from ar_vision.cca.objective import CcaObjective, laid_of
from ar_vision.cca.pairs import PairSource, paired
from ar_vision.cca.reference import DropoutDraws, reference_log_probs
from ar_vision.cca.start import open_start, with_dropout
from ar_vision.data.codes.config import CodeDataConfig
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs

BATCH, NULL = 8, 4
SEED = 1
"""Of a first step in which a sample with a class meets its own class, and others do not."""
DRAWN = ScheduleSampler(
    default=(1, 2, 3), default_share=0.3, coarse=(1,), middle=(2,), middle_count=0, fine=(), fine_count=0, last=3
)


class Setting:
    """A start, opened: a model in float64, a copy of it, an objective and the pairs of a step."""

    def __init__(self, start, *, moved=0.0, seed=0, double=True, **settings):
        self.config = CcaConfig(**{"negative_weight": 5.0, "uncond_ratio": 0.3, "beta": 0.1, **settings})
        data = CodeDataConfig(str(start.codes))
        self.start = open_start(str(start.model), str(start.tokenizer), data, self.config, seed=seed, batch_size=BATCH)
        model = with_dropout(self.start.generator.model, self.config.dropout)
        self.models = {"model": model, **self.start.frozen(self.config.dropout)}
        if double:
            self.models = {name: one.double() for name, one in self.models.items()}
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(moved * torch.randn(parameter.shape, generator=generator))
        self.objective = CcaObjective(self.config, self.start.likelihood)
        self.source = PairSource(self.start.source(split="train"), self.config.group(BATCH))
        self.rng = SampleRng(seed)

    def prepared(self, count=BATCH):
        return self.objective.prepare(list(islice(self.source.open(0), count)), self.rng)

    def sums(self, prepared=None):
        return self.objective.sums(self.models, self.prepared() if prepared is None else prepared)

    def gradient(self, micro_batch, ranks=1):
        """Loss and gradient of the first step as the training step computes them, ranks added up by hand."""
        job = Job(self.objective, self.models, self.source)
        config = TrainConfig(steps=1, batch_size=BATCH, micro_batch_size=micro_batch, clip_norm=None, lr=1e-12)
        module = TrainStep(self.objective, self.models)
        turns = build_turns(self.objective, self.models, config)
        micro_batches = [
            prepared for rank in range(ranks) for prepared in next(iter(StepDataset(job, config, Ranks(rank, ranks))))
        ]
        report = OptimizerStep(module, self.objective, turns, config, Ranks())(micro_batches, 0)
        return report, torch.cat([parameter.grad.flatten().clone() for parameter in turns[0].parameters])


@pytest.fixture
def setting(start):
    """Makes a setting of each kind of generator in turn."""
    return lambda **settings: Setting(start, **settings)


def test_oracle_1_log_ratios_are_0_at_the_start(setting):
    one = setting(dropout=0.0)
    labels, null = (one.prepared().tensors[name] for name in ("labels", "null"))
    assert 0 < int(null.sum()) < BATCH
    positive = null | (labels[0] == labels[1])
    expected = math.log(2) * (1 + float(torch.where(positive, 1.0, 5.0).mean())) / 5
    sums = one.sums()
    assert float(sums["cca"].detach()) / BATCH / 5 == pytest.approx(expected, abs=1e-12)
    assert max(abs(float(sums[name])) for name in ("margin", "gap_real", "gap_mismatched", "gap_null")) < 1e-9
    # Pair by pair, and without what torch does otherwise for weights that learn, both do the very same: not a bit differs in float32.
    single = setting(dropout=0.0, double=False)
    single.models["model"].requires_grad_(False)
    for sample in islice(single.source.open(0), 3):
        with torch.no_grad():
            sums = single.sums(single.objective.prepare([sample], single.rng))
        assert [float(sums[name]) for name in ("gap_real", "gap_mismatched", "gap_null")] == [0, 0, 0]


def test_oracle_7_sequence_log_probabilities_are_those_of_all_logits(setting):
    one = setting(double=False)
    prepared = one.prepared()
    laid, labels = laid_of(prepared), prepared.tensors["labels"]
    model, tokenizer = one.models["model"].eval(), one.models["tokenizer"]
    with torch.no_grad():
        found = one.start.likelihood.log_probs(model, tokenizer, laid, labels, None)
        parts = one.start.likelihood.log_probs(model, tokenizer, laid, labels, 50)
        for row, classes in enumerate(labels):
            if laid.schedule is None:
                logits = model.head(model.teacher_forced(model.condition(classes), laid.codes))
            else:
                history = tokenizer.history(BATCH, laid.schedule)
                inputs = teacher_inputs(history, laid.schedule.split(laid.codes))
                condition = model.condition(classes)
                logits = model.head(model.teacher_forced(condition, inputs, laid.schedule), condition)
            assert logits.shape[1] == laid.codes.shape[1]
            expected = -F.cross_entropy(logits.transpose(1, 2), laid.codes, reduction="none").sum(1)
            assert torch.allclose(found[row], expected, rtol=1e-4)
    assert torch.allclose(found, parts, rtol=1e-5)
    mismatched = labels[0] != labels[1]
    assert (found[0] - found[1])[mismatched].abs().min() > 1e-3


def test_logits_and_sums_are_float32_under_autocast(setting, monkeypatch):
    one = setting(double=False)
    seen = []

    def noted(hidden, weight, *arguments, **options):
        seen.append((hidden.dtype, weight.dtype, torch.is_autocast_enabled("cpu")))
        return sequence_logprob(hidden, weight, *arguments, **options)

    monkeypatch.setattr("ar_vision.cca.likelihood.sequence_logprob", noted)
    prepared = one.prepared()
    model, laid = one.models["model"].eval(), laid_of(prepared)
    arguments = (model, one.models["tokenizer"], laid, prepared.tensors["labels"], None)
    with torch.no_grad():
        exact = one.start.likelihood.log_probs(*arguments)
        with torch.autocast("cpu", torch.bfloat16):
            found = one.start.likelihood.log_probs(*arguments)
    assert found.dtype == torch.float32
    assert seen == [(torch.float32, torch.float32, False)] * 2
    assert not torch.equal(found, exact), "the layers run in 16 bits"
    assert torch.allclose(found, exact, rtol=2e-2)
    assert (found * 256 != (found * 256).round()).any(), "no step of bfloat16 or float16 is left in the sums"


def test_oracle_6_negatives_are_a_permutation_of_the_classes(setting):
    one = setting(uncond_ratio=0.0)
    samples = list(islice(one.source.open(0), 3 * BATCH))
    for step in range(3):
        group = samples[step * BATCH : (step + 1) * BATCH]
        labels = [int(sample["label"]) for sample in group]
        assert [sample["negative"] for sample in group] == labels[1:] + labels[:1]
    # From any place on they are the same.
    for begin in (1, BATCH - 1, BATCH, 2 * BATCH + 3):
        later = list(islice(one.source.open(begin), len(samples) - begin))
        for found, expected in zip(later, samples[begin:], strict=True):
            assert (found["index"], found["negative"]) == (expected["index"], expected["negative"])
    assert len({tuple(s["negative"] for s in samples[n : n + BATCH]) for n in (0, BATCH, 2 * BATCH)}) > 1
    with pytest.raises(ConfigError, match="batch_size is 1"):
        one.config.group(1)


def test_both_rows_of_a_pair_have_the_codes_of_one_schedule(starts):
    one = Setting(starts("flexvar"), schedules=DRAWN)
    lengths = set()
    for step in range(12):
        batch = list(islice(one.source.open(step * BATCH), BATCH))
        parts = [one.objective.prepare(batch[a : a + 2], one.rng) for a in range(0, BATCH, 2)]
        assert len({prepared.meta["sizes"] for prepared in parts}) == 1
        lengths.add(parts[0].tensors["codes"].shape[1])
        found = one.start.likelihood.log_probs(
            one.models["model"], one.models["tokenizer"], laid_of(parts[0]), parts[0].tensors["labels"], None
        )
        assert found.shape == (2, 2)
    assert len(lengths) == 2, "schedules with and without a scale are drawn"


@pytest.mark.parametrize(("micro_batch", "ranks"), [(1, 1), (3, 1), (4, 1), (8, 2), (1, 4), (2, 2)])
def test_oracle_9_any_split_has_the_gradient_of_the_whole(setting, micro_batch, ranks):
    whole, expected = setting(moved=0.05, dropout=0.0).gradient(BATCH)
    report, found = setting(moved=0.05, dropout=0.0).gradient(micro_batch, ranks)
    assert report.loss == pytest.approx(whole.loss, rel=1e-10)
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert report.weights == whole.weights
    for name in ("accuracy", "margin", "gap_real", "gap_mismatched", "gap_null", "nll"):
        assert report.values[name] == pytest.approx(whole.values[name], rel=1e-9)


def test_oracle_9_local_negatives_are_others(setting):
    """Groups of two, as published: another gradient, but again one that no split changes."""
    settings = {"moved": 0.05, "dropout": 0.0, "uncond_ratio": 0.0}
    expected = setting(**settings).gradient(BATCH)[1]
    local = [setting(negative_group=2, **settings).gradient(micro)[1] for micro in (BATCH, 1)]
    assert (local[0] - local[1]).abs().max() <= 1e-6 * local[0].abs().max()
    assert (local[0] - expected).abs().max() > 1e-2 * expected.abs().max()


@pytest.mark.parametrize("uncond_ratio", [0.0, 0.5])
def test_oracle_12_the_start_stays_and_the_null_class_learns_only_from_null_samples(setting, uncond_ratio):
    one = setting(moved=0.05, uncond_ratio=uncond_ratio)
    before = {
        (name, key): tensor.clone()
        for name in ("reference", "tokenizer")
        for key, tensor in one.models[name].state_dict().items()
    }
    null = one.prepared().tensors["null"]
    assert bool(null.any()) == (uncond_ratio > 0)
    one.gradient(BATCH)
    table = getattr(one.models["model"], "class_embedding", None)
    row = (one.models["model"].condition.table if table is None else table).weight.grad[NULL]
    assert bool(row.any()) == (uncond_ratio > 0)
    for name in ("reference", "tokenizer"):
        assert all(parameter.grad is None for parameter in one.models[name].parameters())
        for key, tensor in one.models[name].state_dict().items():
            assert torch.equal(tensor, before[name, key])


def test_metrics_count_the_pairs_that_they_are_about(setting):
    one = setting(moved=0.05, dropout=0.0, seed=SEED)
    prepared = one.prepared()
    labels, null = prepared.tensors["labels"], prepared.tensors["null"]
    laid = laid_of(prepared)
    with torch.no_grad():
        arguments = (one.models["tokenizer"], laid, labels, None)
        own = one.start.likelihood.log_probs(one.models["model"], *arguments)
        gaps = own - one.start.likelihood.log_probs(one.models["reference"], *arguments)
        sums = one.sums(prepared)
    real, mismatched = ~null, ~null & (labels[0] != labels[1])
    expected = {
        "accuracy": (gaps[0] > gaps[1])[mismatched].double().mean(),
        "margin": (gaps[0] - gaps[1])[mismatched].mean(),
        "gap_real": gaps[0][real].mean(),
        "gap_mismatched": gaps[1][mismatched].mean(),
        "gap_null": gaps[0][null].mean(),
        "nll": -own[0][real].mean() / laid.codes.shape[1],
    }
    assert 0 < int(mismatched.sum()) < int(real.sum()) < BATCH
    for name, value in expected.items():
        assert float(sums[name]) / prepared.weights[name] == pytest.approx(float(value), rel=1e-9), name
        assert not sums[name].requires_grad


def test_dropout_of_the_start_is_off_shared_or_its_own(setting):
    found = {}
    for how in ("off", "shared", "independent"):
        one = setting(dropout=0.4, reference_dropout=how, uncond_ratio=0.5)
        one.models["model"].train()
        torch.manual_seed(3)
        found[how] = one.sums()
        assert not any(module.training for module in one.models["reference"].modules())
    assert abs(float(found["shared"]["gap_real"])) < 1e-9
    assert abs(float(found["shared"]["gap_null"])) < 1e-9
    for how in ("off", "independent"):
        assert abs(float(found[how]["gap_real"])) > 1e-3
    assert float(found["off"]["gap_real"]) != float(found["independent"]["gap_real"])
    # Noise has no place in a measurement.
    one = setting(dropout=0.4, reference_dropout="independent")
    one.models["model"].eval()
    assert abs(float(one.sums()["gap_real"])) < 1e-9


def test_draws_are_repeated_and_the_stream_goes_on():
    torch.manual_seed(0)
    expected = torch.rand(7)
    torch.manual_seed(0)
    draws = DropoutDraws(torch.device("cpu"))
    first = torch.rand(3)
    with draws.again():
        again = torch.rand(5)
    assert torch.equal(again[:3], first)
    assert torch.equal(torch.cat([first, torch.rand(4)]), expected)


def test_dropout_of_the_trained_model_is_set_and_weights_stay(setting):
    one = setting()
    changed = with_dropout(one.start.generator.model, 0.25)
    rates = {name: value for name, value in vars(changed.config).items() if "drop" in name}
    assert set(rates.values()) == {0.25}
    assert with_dropout(changed, None) is changed
    for name, tensor in one.start.generator.model.state_dict().items():
        assert torch.equal(tensor, changed.state_dict()[name])


def test_weight_decay_spares_what_pretraining_spares(starts):
    (player,) = Setting(starts("var")).objective.players()
    assert "positions" in player.no_decay
    (player,) = Setting(starts("llamagen")).objective.players()
    assert player.no_decay == ()


def test_values_of_the_start_do_not_depend_on_their_batch(setting):
    one = setting(double=False)
    prepared = one.prepared()
    laid, labels = laid_of(prepared), prepared.tensors["labels"]
    whole = reference_log_probs(one.start.likelihood, one.models, laid, labels)
    alone = [
        reference_log_probs(one.start.likelihood, one.models, laid.part(slice(n, n + 1)), labels[:, n : n + 1])
        for n in range(BATCH)
    ]
    assert torch.equal(torch.cat(alone, 1), whole)
    faster = reference_log_probs(one.start.likelihood, one.models, laid, labels, batch_size=BATCH)
    assert torch.allclose(faster, whole, rtol=1e-5)


def test_what_cannot_be_paired_is_named(starts):
    one = Setting(starts("var"))
    sample = next(iter(one.source.open(0)))
    with pytest.raises(DataError, match="label 4 was given: classes run from 0 to 3"):
        one.objective.prepare([{**sample, "negative": 4}], one.rng)
    with pytest.raises(ConfigError, match="is a var, which has one: leave it out"):
        Setting(starts("var"), schedules=DRAWN)
    with pytest.raises(ConfigError, match=r"schedules go up to a side of 4 and the codes in .* to 3"):
        Setting(starts("flexvar"), schedules=from_dict(ScheduleSampler, {**vars(DRAWN), "last": 4}))
    with pytest.raises(CheckpointError, match="CCA knows the log-probabilities of var, flexvar and llamagen"):
        likelihood_of(torch.nn.Linear(1, 1), ScaleSchedule.square(1), None, BATCH)


def test_texts_have_no_other_class():
    from ar_vision.backbones.llamagen.config import LlamaGenConfig
    from ar_vision.backbones.llamagen.model import LlamaGen

    shape = {"layers": 1, "heads": 1, "dim": 8, "vocab_size": 4, "grid": 2}
    model = LlamaGen(LlamaGenConfig(condition="text", text_dim=4, text_tokens=2, **shape))
    with pytest.raises(CheckpointError, match="conditioned on texts, and CCA contrasts classes"):
        likelihood_of(model, ScaleSchedule.square(2), None, BATCH)


def test_a_group_of_samples_passes_its_classes_around():
    found = list(paired([{"index": n, "label": label} for n, label in enumerate([5, 7, 9])]))
    assert [sample["negative"] for sample in found] == [7, 9, 5]
    assert [sample["label"] for sample in found] == [5, 7, 9]
