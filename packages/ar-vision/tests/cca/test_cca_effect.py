"""What CCA is for: on a law of codes that is known, samples without guidance become those of the class, as guided ones are."""

import copy

import pytest
import torch
from ar_core.training import Job, TrainConfig, train
from ar_vision.backbones.generated_codes import GeneratedCodes, GeneratedSource
from ar_vision.backbones.llamagen.config import LlamaGenConfig, LlamaGenTraining
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.llamagen.objective import LlamaGenObjective
from ar_vision.cca.config import CcaConfig
from ar_vision.cca.likelihood import RasterLikelihood
from ar_vision.cca.objective import CcaObjective
from ar_vision.cca.pairs import PairSource
from torch import nn

CLASSES, BATCH = 4, 32
SHAPE = LlamaGenConfig(
    layers=1, heads=2, dim=32, vocab_size=12, grid=3, num_classes=CLASSES,
    token_dropout=0.0, residual_dropout=0.0, ffn_dropout=0.0, init_std=0.18,
)  # fmt: skip


@pytest.fixture(scope="module")
def source():
    """Half of all codes say nothing of their class."""
    return GeneratedSource(GeneratedCodes(noise=0.5), classes=CLASSES, length=9, vocab_size=12, split="train", seed=0)


@pytest.fixture(scope="module")
def base(source):
    """A LlamaGen of that law, with its null class."""
    model = LlamaGen(SHAPE)
    model.initialize(torch.Generator().manual_seed(0))
    config = TrainConfig(steps=150, batch_size=BATCH, lr=1e-2, schedule="cosine", log_every=50)
    train(Job(LlamaGenObjective(SHAPE, LlamaGenTraining()), {"model": model}, source), config)
    return model.eval()


def aligned(base, source, steps=30, **settings):
    """The base after a fifth of its steps of CCA, and the last metrics."""
    model, reference = copy.deepcopy(base).train(), copy.deepcopy(base)
    objective = CcaObjective(CcaConfig(beta=0.3, **settings), RasterLikelihood(base))
    config = TrainConfig(steps=steps, batch_size=BATCH, lr=2e-3, log_every=1)
    models = {"model": model, "reference": reference, "tokenizer": nn.Identity()}
    records = []
    train(Job(objective, models, PairSource(source, BATCH)), config, report=records.append)
    return model.eval(), records


def agreement(model, source, guidance=1.0):
    """Share of drawn codes that are those of the class's pattern."""
    labels = torch.arange(CLASSES).repeat(100)
    drawn = generate(model, class_condition(model, labels), LlamaGenOptions(guidance=guidance), seed=0)
    return float((drawn.codes == source.patterns[labels]).float().mean())


def test_samples_become_those_of_their_class(base, source):
    before = agreement(base, source)
    guided = agreement(base, source, guidance=2.0)
    assert guided > before + 0.1
    model, records = aligned(base, source, negative_weight=3.0)
    after = agreement(model, source)
    assert after > before + 0.5 * (guided - before)
    first, last = records[0]["values"], records[-1]["values"]
    assert first["margin"] == pytest.approx(0, abs=1e-3)
    assert last["accuracy"] > 0.9
    assert last["margin"] > 1
    assert last["gap_mismatched"] < -1


def test_lambda_is_a_knob(base, source):
    found = [agreement(aligned(base, source, negative_weight=weight)[0], source) for weight in (0.0, 1.0, 10.0)]
    assert found[0] + 0.03 < found[1] < found[2] - 0.03
