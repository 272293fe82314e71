"""How students that guess are trained and begun: the loss of guesses by hand, what it moves, and what never reaches a prediction."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_vision.distilled_decoding.assistance import Assisted, drawn_again
from ar_vision.distilled_decoding.config import DistilledDecodingConfig
from ar_vision.distilled_decoding.decode import draw_sequences
from ar_vision.distilled_decoding.first_guess import GUESS_PULL, HALF, LAW, PULL, NoiseLogits
from ar_vision.distilled_decoding.flow.flow_map import flow_map
from ar_vision.distilled_decoding.initialisation import build_student
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.objective import DistilledDecodingObjective
from ar_vision.distilled_decoding.options import DistilledOptions
from ar_vision.distilled_decoding.student import perturbed
from ar_vision.distilled_decoding.student_config import NoiseDataEmbedding
from ar_vision.distilled_decoding.teacher import code_vectors

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])
CONFIG = DistilledDecodingConfig(timesteps=(0, 2), split=2, guess_weight=0.5)


@pytest.fixture
def parts(make_teacher, make_student):
    """Teacher, student, models, objective and six samples."""

    def make(kind, **more):
        teacher = make_teacher(kind)
        student = make_student(teacher, guesses=True, **more).requires_grad_(True)
        codes = torch.randint(24, (6, teacher.units.total), generator=torch.Generator().manual_seed(0))
        batch = [{"index": n, "label": n % 5, "seed": 1000 + n, "codes": codes[n]} for n in range(6)]
        models = {"model": student, "tokenizer": teacher.tokenizer}
        return teacher, student, models, DistilledDecodingObjective(CONFIG, student, batch_size=6), batch

    return make


@KINDS
def test_the_loss_of_guesses_by_hand_and_what_it_moves(parts, kind):
    teacher, student, models, objective, batch = parts(kind)
    prepared = objective.prepare(batch, SampleRng(0))
    found = objective.sums(models, prepared)
    codes, clean = prepared.tensors["codes"], prepared.tensors["clean"]
    assert set(clean.sum(1).tolist()) == {0, teacher.units.tokens(2)}, "both timesteps are there"
    guess, vector = student.first_guess, student.condition_of(prepared.tensors["labels"]).vector
    x = F.layer_norm(vector[:, None] + guess.place, guess.place.shape[1:])
    law = guess.fc2(F.gelu(guess.fc1(x))) @ guess.law.T
    noise = noise_of([one["seed"] for one in batch], teacher.units.total, student.config.code_dim)
    logits = law + noise @ guess.noise.pull.T + guess.noise.bias
    expected = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")[~clean].sum()
    torch.testing.assert_close(found["guess"], expected)
    assert prepared.weights["guess"] == float((~clean).sum())
    assert objective.coefficients["guess"] == 0.5

    def moved(loss):
        gradients = torch.autograd.grad(loss, list(student.parameters()), retain_graph=True, allow_unused=True)
        names = [name for name, _ in student.named_parameters()]
        return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}

    classes = "class_embedding.weight" if kind == "var" else "condition.table.weight"
    own = {name for name, _ in student.named_parameters() if name.startswith("first_guess.")} - {"first_guess.vectors"}
    assert moved(found["guess"]) == own | {classes}
    # What the layers are fed with learns from what they predict, and only that teaches the vectors.
    assert own | {classes, "first_guess.vectors", "noise_logits.pull"} <= moved(found["code"])


@KINDS
def test_codes_behind_the_clean_ones_reach_nothing_but_the_targets(parts, kind, monkeypatch):
    _, student, models, objective, batch = parts(kind)
    seen, run = [], student.hidden

    def hidden(*given, **settings):
        seen.append((given[0], run(*given, **settings)))
        return seen[-1][1]

    monkeypatch.setattr(student, "hidden", hidden)
    prepared = objective.prepare(batch, SampleRng(0))
    first = objective.sums(models, prepared)
    noisy = ~prepared.tensors["clean"]
    prepared.tensors["codes"] = torch.where(noisy, (prepared.tensors["codes"] + 1) % 24, prepared.tensors["codes"])
    again = objective.sums(models, prepared)
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first["guess"], again["guess"])
    assert not torch.equal(first["vector"], again["vector"])
    # Clean ones do reach it.
    prepared.tensors["codes"] = torch.where(noisy, prepared.tensors["codes"], (prepared.tensors["codes"] + 1) % 24)
    objective.sums(models, prepared)
    assert not torch.equal(seen[2][1], seen[1][1])


@KINDS
def test_a_student_begins_with_what_its_own_noise_says(make_teacher, kind):
    teacher = make_teacher(kind)
    student = build_student(teacher.model, teacher.tokenizer, timesteps=(0,), split=2, guesses=True)
    codebook = code_vectors(teacher.tokenizer)
    for found, pull in ((student.noise_logits, PULL), (student.first_guess.noise, GUESS_PULL)):
        expected = NoiseLogits(*codebook.shape)
        expected.initialize(codebook, pull)
        assert torch.equal(found.matrix(), expected.matrix())
        assert found.pull.abs().max() > 1
    assert torch.equal(student.first_guess.vectors, codebook)


@KINDS
def test_marks_inside_layers_on_the_cache(make_teacher, make_student, kind):
    """The published marks in every layer and before the heads, which students that guess take too."""
    teacher = make_teacher(kind)
    student = make_student(teacher, guesses=True, noise_data_embed=NoiseDataEmbedding(layerwise=True))
    noise = noise_of([1, 2], teacher.units.total, student.config.code_dim)
    condition, codebook = student.condition_of(torch.tensor([1, 3])), code_vectors(teacher.tokenizer)
    clean = (torch.arange(teacher.units.total) < student.units.tokens(2)).expand(2, -1)
    first = draw_sequences(student, condition, noise, codebook, DistilledOptions())
    inputs = perturbed(first.vectors, noise, clean)
    hidden = student.hidden(inputs, clean, condition)
    expected = student.logits(hidden, condition).argmax(-1)
    two = draw_sequences(student, condition, noise, codebook, DistilledOptions(timesteps=(0, 2)))
    assert torch.equal(two.codes[~clean], expected[~clean])
    for layer in range(3):
        before = student.noise_data.layerwise[layer].bias.clone()
        student.noise_data.layerwise[layer].bias.add_(torch.linspace(-1, 1, 32))
        assert not torch.allclose(student.hidden(inputs, clean, condition), hidden, atol=1e-3), layer
        student.noise_data.layerwise[layer].bias.copy_(before)
        assert torch.equal(student.hidden(inputs, clean, condition), hidden)


@KINDS
def test_a_teacher_helps_between_two_passes(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher, guesses=True), code_vectors(teacher.tokenizer)
    labels, seeds = [1, 3, 0], [4, 5, 6]
    noise = noise_of(seeds, teacher.units.total, codebook.shape[1])
    condition = student.condition_of(torch.tensor(labels))
    options = DistilledOptions(timesteps=(0, 3), teacher_start=1)
    assisted = Assisted(teacher, labels, seeds)
    found = draw_sequences(student, condition, noise, codebook, options, assisted=assisted)
    alone = draw_sequences(student, condition, noise, codebook, DistilledOptions())
    x, _ = drawn_again(alone.vectors, codebook, options, assisted, 3)
    clean = (torch.arange(teacher.units.total) < teacher.units.tokens(3)).expand(3, -1)
    expected = student.logits(student.hidden(perturbed(x, noise, clean), clean, condition), condition).argmax(-1)
    assert torch.equal(found.vectors[clean], x[clean])
    assert torch.equal(found.codes[~clean], expected[~clean])


def test_texts_of_several_tokens_and_their_padding(make_teacher, make_student):
    """The last of the condition's positions is the one that predicts the first code."""
    teacher = make_teacher("texts")
    student, codebook = make_student(teacher, guesses=True), code_vectors(teacher.tokenizer)
    assert (student.prefix, student.config.prefix) == (4, 5)
    condition = student.condition_of_texts([teacher.texts[2], teacher.texts[3]])
    assert condition.valid is not None
    assert not condition.valid.all()
    noise = noise_of([1, 2], 16, 4)
    one = draw_sequences(student, condition, noise, codebook, DistilledOptions())
    alone = draw_sequences(
        student, student.condition_of_texts([teacher.texts[2]]), noise[:1], codebook, DistilledOptions()
    )
    assert torch.equal(alone.codes[0], one.codes[0])
    three = draw_sequences(student, condition, noise, codebook, DistilledOptions(timesteps=(0, 2, 7)))
    x, codes = one.vectors, one.codes
    for given in (2, 7):
        clean = (torch.arange(16) < given).expand(2, -1)
        logits = student.logits(student.hidden(perturbed(x, noise, clean), clean, condition), condition)
        codes = torch.where(clean, codes, logits.argmax(-1))
        x = codebook[codes]
    assert torch.equal(three.codes, codes)
    assert dict(three.stats.widths) == {20: 1, 16: 1, 14: 1}


@pytest.mark.parametrize(("codes", "dim", "spread"), [(64, 16, 2.0), (64, 8, 2.0), (128, 8, 1.5)])
def test_the_three_numbers_that_it_begins_with_are_near_the_best_of_their_kind(codes, dim, spread):
    """Of a log p + b <noise, code> - q |code|^2, by cross-entropy of the code that noise flows to."""
    generator = torch.Generator().manual_seed(0)
    codebook = F.normalize(torch.randn(codes, dim, generator=generator), dim=1)
    laws = (spread * torch.randn(600, codes, generator=generator)).log_softmax(-1)
    noise = torch.randn(600, dim, generator=generator)
    reached = flow_map(noise, laws, codebook).codes
    centred = codebook - codebook.mean(0)

    def loss(a, b, q):
        return F.cross_entropy(a * laws + b * noise @ centred.T - q * centred.square().sum(1), reached)

    best = torch.tensor([1.0, 1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([best], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(*best)
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        begun, fitted, alone = loss(LAW, PULL, HALF * PULL), loss(*best), F.cross_entropy(laws, reached)
        assert fitted < begun < 1.5 * fitted
        assert alone - begun > 0.8 * (alone - fitted)
        # The law by itself, were it sharpened, would not do.
        assert loss(LAW, 0, 0) > 2 * begun
