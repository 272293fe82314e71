"""Students that are fed like their teacher, with first guesses of all codes."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.checkpoint import load_checkpoint
from ar_vision.convert import convert
from ar_vision.distilled_decoding import RECIPE
from ar_vision.distilled_decoding.config import DistilledDecodingConfig
from ar_vision.distilled_decoding.decode import draw_sequences, generate
from ar_vision.distilled_decoding.first_guess import LAW, PULL, FirstGuess, NoiseLogits
from ar_vision.distilled_decoding.flow.flow_map import flow_map
from ar_vision.distilled_decoding.initialisation import build_student
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.objective import DistilledDecodingObjective
from ar_vision.distilled_decoding.options import DistilledOptions
from ar_vision.distilled_decoding.student import perturbed
from ar_vision.distilled_decoding.teacher import code_vectors
from ar_vision.tokenizers.scale_history import teacher_inputs

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])
LABELS = [1, 3, 3]


def cleaned(student, units, rows=2):
    given = student.units.tokens(units)
    return (torch.arange(student.units.total) < given).expand(rows, -1)


def gaussian(student, seed=0, rows=2):
    shape = rows, student.units.total, student.config.code_dim
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@KINDS
def test_fed_with_code_vectors_it_begins_as_its_teacher(make_teacher, kind):
    """Where nothing is noise, its states are those of teacher forcing, and its logits the teacher's times a constant."""
    teacher = make_teacher(kind)
    if kind == "llamagen":
        # Code embeddings that a linear layer of the code vectors gives: the fit is then exact.
        mixing = (
            torch.randn(code_vectors(teacher.tokenizer).shape[1], 32, generator=torch.Generator().manual_seed(0)) * 0.3
        )
        teacher.model.codes.weight.data.copy_(code_vectors(teacher.tokenizer) @ mixing)
    student = build_student(teacher.model, teacher.tokenizer, timesteps=(0,), split=2, guesses=True).eval()
    student.noise_data.table.weight.data.zero_()
    codes = torch.randint(0, len(code_vectors(teacher.tokenizer)), (2, student.units.total))
    clean, labels = torch.ones(2, student.units.total, dtype=torch.bool), torch.tensor([1, 3])
    with torch.no_grad():
        vectors = teacher.tokenizer.codebook.lookup(codes)
        condition = student.condition_of(labels)
        hidden = student.hidden(vectors, clean, condition)
        if kind == "var":
            history = teacher.tokenizer.history(2, teacher.schedule)
            inputs = teacher_inputs(history, list(teacher.schedule.split(codes)))
            given = teacher.model.condition(labels)
            expected = teacher.model.head(teacher.model.teacher_forced(given, inputs, teacher.schedule), given)
        else:
            expected = teacher.model.head(teacher.model.teacher_forced(teacher.model.condition(labels), codes))
        found = student.logits(hidden, condition)
    torch.testing.assert_close(found, LAW * expected, atol=2e-4, rtol=0)


def test_oracle_8_noise_of_a_var_token_reaches_itself_and_finer_scales_alone(make_teacher, make_student):
    student = make_student(make_teacher("var"), guesses=True)
    noise, scales, clean = gaussian(student), student.schedule.scale_ids(), cleaned(student, 0)
    condition = student.condition_of(torch.tensor([1, 3]))
    before = student.logits(student.hidden(noise, clean, condition), condition)
    for token in (0, 2, 7, 20):
        changed = noise.clone()
        changed[:, token] += 1
        moved = (student.logits(student.hidden(changed, clean, condition), condition) != before).any(-1).all(0)
        reached = scales > scales[token]
        reached[token] = True
        assert torch.equal(moved, reached), token


def test_oracle_8_noise_of_a_llamagen_token_reaches_itself_and_later_ones_alone(make_teacher, make_student):
    student = make_student(make_teacher("llamagen"), guesses=True)
    noise, clean = gaussian(student), cleaned(student, 0)
    condition = student.condition_of(torch.tensor([1, 3]))
    before = student.logits(student.hidden(noise, clean, condition), condition)
    for token in (0, 5, 15):
        changed = noise.clone()
        changed[:, token] += 1
        moved = (student.logits(student.hidden(changed, clean, condition), condition) != before).any(-1).all(0)
        assert torch.equal(moved, torch.arange(16) >= token), token


@KINDS
def test_noise_is_read_where_there_is_noise_alone_and_marks_tell_what_is_data(make_teacher, make_student, kind):
    student = make_student(make_teacher(kind), guesses=True)
    inputs, condition = gaussian(student), student.condition_of(torch.tensor([1, 3]))
    clean = torch.ones(2, student.units.total, dtype=torch.bool)
    before = student.hidden(inputs, clean, condition)
    assert not before[..., -student.noise_logits.width :].any()
    # The vector of noise is that of no token, and that of data of all.
    student.noise_data.table.weight[0].add_(1)
    assert torch.equal(student.hidden(inputs, clean, condition), before)
    student.noise_data.table.weight[1].add_(torch.linspace(-1, 1, 32))
    assert (student.hidden(inputs, clean, condition) != before).any(-1).all()


@KINDS
def test_tokens_are_marked_as_data_where_what_they_are_fed_with_is(make_teacher, make_student, kind):
    """Behind one clean scale the next one is fed with data, and no finer one; behind one clean code, the next one alone."""
    student = make_student(make_teacher(kind), guesses=True)
    inputs, condition = gaussian(student), student.condition_of(torch.tensor([1, 3]))
    before = student.hidden(inputs, cleaned(student, 1), condition)
    student.noise_data.table.weight[0].add_(torch.linspace(-1, 1, 32))
    moved = (student.hidden(inputs, cleaned(student, 1), condition) != before).any(-1).all(0)
    assert torch.equal(moved, torch.arange(student.units.total) >= student.units.tokens(2))


@KINDS
@pytest.mark.parametrize("units", [0, 1, 3])
def test_a_second_pass_on_the_cache_equals_a_whole_one(make_teacher, make_student, kind, units):
    student = make_student(make_teacher(kind), guesses=True)
    noise, data = gaussian(student), gaussian(student, seed=1)
    condition = student.condition_of(torch.tensor([1, 3]))
    given, total = student.units.tokens(units), student.prefix + student.units.total
    clean = cleaned(student, units)
    cache = student.new_cache(2, total)
    cache.window(total)
    student.hidden(perturbed(data, noise, clean), clean, condition, cache=cache)
    cache.keep(student.prefix + given)
    later = cleaned(student, units + 1)
    x = perturbed(data, noise, later)
    cache.window(total - student.prefix - given)
    found = student.hidden(x, later, condition, known=student.prefix + given, cache=cache)
    whole = student.hidden(x, later, condition)
    torch.testing.assert_close(found, whole[:, given:], atol=1e-5, rtol=0)


@KINDS
def test_several_passes_are_those_of_whole_passes_and_one_head_is_the_other(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher, guesses=True), code_vectors(teacher.tokenizer)
    noise = noise_of([3, 4, 5], teacher.units.total, codebook.shape[1])
    condition, x = student.condition_of(torch.tensor(LABELS)), noise
    for step in (0, 1, 3):
        clean = cleaned(student, step, 3)
        hidden = student.hidden(perturbed(x, noise, clean), clean, condition)
        logits = student.logits(hidden, condition)
        states, head = student.matrix_head(hidden, condition)
        torch.testing.assert_close(head(states), logits)
        y = codebook[logits.argmax(-1)]
        y[clean] = x[clean]
        x = y
    drawn = draw_sequences(student, condition, noise, codebook, DistilledOptions(timesteps=(0, 1, 3)))
    torch.testing.assert_close(drawn.vectors, x, atol=1e-5, rtol=0)
    assert dict(drawn.stats.forwards) == {"student": 3}
    assert student.continuous(hidden, condition).shape == noise.shape


def test_a_first_guess_is_the_mean_of_the_codes_under_its_logits():
    generator = torch.Generator().manual_seed(0)
    guess = FirstGuess(6, 16, 12, 4)
    codebook = torch.randn(12, 4, generator=generator)
    guess.initialize(codebook, 0.3, generator)
    guess.noise.initialize(codebook, 2.0)
    condition = torch.randn(2, 16, generator=generator)
    inputs = torch.randn(2, 6, 4, generator=generator)
    clean = torch.arange(6).expand(2, -1) < 2
    with torch.no_grad():
        states, head = guess.matrix_head(condition, inputs, clean)
        law = F.linear(states[..., :16], guess.law) + torch.where(
            clean[..., None], 0, inputs @ guess.noise.pull.T + guess.noise.bias
        )
        torch.testing.assert_close(head(states), law)
        found = guess(condition, inputs, clean)
    torch.testing.assert_close(found[:, 2:], (law.softmax(-1) @ guess.vectors)[:, 2:].detach())
    assert torch.equal(found[:, :2], inputs[:, :2])
    # Autocast is for the layers, not for this.
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(guess(condition, inputs, clean), found)


@pytest.mark.parametrize("length", [0.2, 1.0, 5.0])
def test_logits_begin_at_the_first_order_of_the_flow(length):
    """Codes in 16 dimensions, laws as sharp as a teacher's: most of the noise flows to the largest of these logits."""
    generator = torch.Generator().manual_seed(0)
    codebook = length * F.normalize(torch.randn(64, 16, generator=generator), dim=1)
    laws = (2 * torch.randn(400, 64, generator=generator)).log_softmax(-1)
    noise = torch.randn(400, 16, generator=generator)
    codes = flow_map(noise, laws, codebook).codes
    begun = NoiseLogits(64, 16)
    begun.initialize(codebook, PULL)
    columns = begun.columns(noise[:, None], torch.zeros(400, 1, dtype=torch.bool))[:, 0]
    with torch.no_grad():
        logits = LAW * laws + F.linear(columns, begun.matrix())
    right = (logits.argmax(-1) == codes).float().mean()
    assert right > 0.6
    assert right > 2 * (laws.argmax(-1) == codes).float().mean()
    assert F.cross_entropy(logits, codes) < 0.6 * F.cross_entropy(laws, codes)


def test_guesses_are_trained_where_they_are_made_and_nowhere_else(make_teacher, make_student):
    teacher = make_teacher("var")
    published, guessing = make_student(teacher), make_student(teacher, guesses=True)
    weighted = DistilledDecodingConfig(timesteps=(0, 2), split=2, guess_weight=0.5)
    with pytest.raises(
        ConfigError, match=r"guess_weight is 0\.0 and the student makes first guesses: give a weight above 0"
    ):
        DistilledDecodingObjective(DistilledDecodingConfig(timesteps=(0, 2), split=2), guessing, batch_size=2)
    with pytest.raises(
        ConfigError, match=r"guess_weight is 0\.5 and the student makes no first guesses: give 0, or set"
    ):
        DistilledDecodingObjective(weighted, published, batch_size=2)
    with pytest.raises(ConfigError, match="guess_weight is -1"):
        DistilledDecodingConfig(guess_weight=-1)


@KINDS
def test_a_control_begins_as_its_teacher_without_a_say_of_noise(make_teacher, kind):
    teacher = make_teacher(kind)
    settings = {"timesteps": (0,), "split": 2, "guesses": True}
    student = build_student(teacher.model, teacher.tokenizer, reads_noise=False, **settings).eval()
    condition, clean = student.condition_of(torch.tensor([1, 3])), cleaned(student, 0)
    with torch.no_grad():
        hidden = [student.hidden(gaussian(student, seed), clean, condition) for seed in (0, 1)]
        torch.testing.assert_close(*[student.logits(one, condition) for one in hidden], atol=0, rtol=0)
    own, given = student.state_dict(), teacher.model.state_dict()
    head = "head.linear.weight" if kind == "var" else "output.weight"
    assert torch.equal(own[head], given[head])
    reading = build_student(teacher.model, teacher.tokenizer, **settings).state_dict()
    torch.testing.assert_close(reading[head], LAW * given[head])


@KINDS
def test_from_pairs_to_images(folders, pairs, kind, tmp_path):
    where, directory = folders(kind), pairs(kind)
    places = [f"model.teacher={where.teacher}", f"tokenizer={where.tokenizer}", f"data.path={directory}"]
    small = ["train.steps=30", "train.batch_size=8", "train.eval_every=30", "train.warmup_steps=0", "train.ema=null"]
    small += [f"train.checkpoint_dir={tmp_path / 'run'}", "data.held_out=0.3", "evaluation.images=8", "train.lr=3e-3"]
    run = read_run_config(RECIPE, "tiny", [*places, *small, "model.guesses=true", "method.guess_weight=0.5"])
    result = run_recipe(recipe("distilled_decoding"), run)
    assert result.losses[-1] < result.losses[0]
    assert {"held_out_nll_0", "held_out_guess_0"} <= result.evaluation.keys()
    loaded = load_checkpoint(tmp_path / "run" / "final")
    assert loaded.family.kind == f"{kind}_dd_guess"
    coder = load_checkpoint(where.tokenizer, "tokenizer").model
    images = generate(loaded.model.eval(), coder, [1, 2], seed=3)
    again = generate(loaded.model.eval(), coder, [2], seed=[4])
    assert images.images.shape[0] == 2
    torch.testing.assert_close(generate(loaded.model, coder, [1, 2], seed=[3, 4]).images[1:], again.images)


def test_it_is_no_teacher_and_nothing_is_published(make_teacher, make_student, tmp_path):
    teacher = make_teacher("var")
    student = make_student(teacher, guesses=True)
    with pytest.raises(CheckpointError, match="a student of a VarGuessStudent was asked for"):
        build_student(student, teacher.tokenizer, timesteps=(0,), split=2)
    with pytest.raises(CheckpointError, match="no published weights of a var_dd_guess are known"):
        convert("var_dd_guess", tmp_path / "x.pth", tmp_path / "y")


def test_long_codes_are_not_favoured():
    """Noise would pull to long codes wherever it points; what a squared length takes away leaves them their share."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.linspace(0.5, 2.0, 64)[:, None]
    codebook = lengths * F.normalize(torch.randn(64, 16, generator=generator), dim=1)
    laws = torch.randn(600, 64, generator=generator).log_softmax(-1)
    noise = torch.randn(600, 16, generator=generator)
    codes = flow_map(noise, laws, codebook).codes
    begun = NoiseLogits(64, 16)
    begun.initialize(codebook, PULL)
    columns = begun.columns(noise[:, None], torch.zeros(600, 1, dtype=torch.bool))[:, 0]
    with torch.no_grad():
        logits = LAW * laws + F.linear(columns, begun.matrix())
        without = logits - begun.bias
    losses = [float(F.cross_entropy(one, codes)) for one in (logits, without)]
    assert losses[0] < 0.7 * losses[1]
