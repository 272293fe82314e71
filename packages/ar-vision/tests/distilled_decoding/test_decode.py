"""Sampling from students: recorded sequences, a perfect student, passes that are counted, and teachers in between."""

import pytest
import torch
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError, DataError, NumericsError
from ar_core.sampling import row_seed
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.distilled_decoding.assistance import Assisted, drawn_again
from ar_vision.distilled_decoding.decode import draw_sequences, generate
from ar_vision.distilled_decoding.flow_pick import FlowPick
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.options import DistilledOptions
from ar_vision.distilled_decoding.reading import read_off
from ar_vision.distilled_decoding.sequence import features_of
from ar_vision.distilled_decoding.student import perturbed
from ar_vision.distilled_decoding.teacher import code_vectors
from ar_vision.distilled_decoding.var_loading import from_published
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs
from safetensors.torch import load_file

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])
LABELS = [1, 3, 0]


@pytest.fixture(scope="module")
def case(golden_dir):
    stored = load_file(golden_dir / "vision_a" / "dd_var_d2.safetensors")
    stored["codebook"] = stored.pop("w.quantize.embedding.weight")
    weights = {name[2:]: stored.pop(name) for name in list(stored) if name.startswith("w.")}
    return stored, from_published(weights).requires_grad_(False)


@pytest.mark.parametrize("t", [0, 1, 2, 3])
@pytest.mark.parametrize("split", [0, 2, 3, 4])
def test_recorded_sequences(case, t, split):
    tensors, student = case
    given, condition = student.units.tokens(t), student.condition_of(tensors["label"].long())
    clean = (torch.arange(30) < given).expand(2, -1)
    x = tensors[f"t{t}.x_t"]
    hidden = student.hidden(x, clean, condition)
    tokens = student.units.tokens(split)
    found, codes = read_off(
        student, hidden, condition, x, tensors["codebook"], 0, given, tokens, DistilledOptions(), ()
    )
    torch.testing.assert_close(found, tensors[f"t{t}.seq_split{split}"], atol=1e-4, rtol=0)
    assert torch.equal(codes[:, :tokens], tensors[f"t{t}.final_argmax"].long()[:, :tokens])
    torch.testing.assert_close(found[:, tokens:], tensors[f"t{t}.final_conti"][:, tokens:], atol=1e-4, rtol=0)


def test_recorded_two_steps_and_their_features(case, golden_var_tokenizer):
    tensors, student = case
    options = DistilledOptions(timesteps=(0, 2), split=2)
    condition = student.condition_of(tensors["label"].long())
    drawn = draw_sequences(student, condition, tensors["noise"], tensors["codebook"], options)
    torch.testing.assert_close(drawn.vectors, tensors["two_step_0_2_split2"], atol=1e-4, rtol=0)
    features = features_of(golden_var_tokenizer, drawn.vectors, student.schedule)
    torch.testing.assert_close(features, tensors["two_step_fhat"], atol=1e-3, rtol=0)


class Lookup:
    """A student that knows the codes of the noise that it was built for, and nothing of any other."""

    def __init__(self, student, noise, codes, codebook):
        self._student, self.noise, self.codes, self.codebook = student, noise, codes, codebook
        self.seen = []

    def __getattr__(self, name):
        return getattr(self._student, name)

    def hidden(self, inputs, clean, condition, *, known=0, cache=None):
        self.seen.append((inputs.clone(), clean.clone()))
        total = self.prefix + self.units.total
        if cache is not None:
            for layer in range(2):
                shape = len(inputs), 2, total - known, 16
                cache.update(layer, torch.zeros(shape), torch.zeros(shape))
        first = max(known - self.prefix, 0)
        right = torch.where(clean, True, (inputs == self.noise).all(-1))
        # Codes of noise that is another come out as code 0.
        return torch.where(right, self.codes, 0)[:, first:].float()[..., None]

    def logits(self, hidden, condition):
        return torch.nn.functional.one_hot(hidden[..., 0].long(), len(self.codebook)).float()

    def matrix_head(self, hidden, condition):
        from ar_core.linear_head import LinearHead

        return self.logits(hidden, condition), LinearHead(torch.eye(len(self.codebook)))

    def continuous(self, hidden, condition):
        return self.codebook[hidden[..., 0].long()]


@KINDS
@pytest.mark.parametrize("split", [0, 1, None])
def test_oracle_10_a_perfect_student_gives_the_stored_codes_in_one_pass_and_in_two(
    make_teacher, make_student, kind, split
):
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher), code_vectors(teacher.tokenizer)
    noise = noise_of([3, 4, 5], teacher.units.total, codebook.shape[1])
    codes, _ = teacher.draw(
        LABELS, FlowPick(noise, teacher.units, teacher.sampler, codebook, DistilledOptions().solver)
    )
    assert codes.unique().numel() > 4
    lookup = Lookup(student, noise, codes, codebook)
    condition = student.condition_of(torch.tensor(LABELS))
    for timesteps in ((0,), (0, 2), (0, 1, 3)):
        lookup.seen.clear()
        options = DistilledOptions(timesteps=timesteps, split=split)
        drawn = draw_sequences(lookup, condition, noise, codebook, options)
        assert torch.equal(drawn.codes, codes)
        torch.testing.assert_close(drawn.vectors, codebook[codes])
        # Every pass is fed with the first units as they are by then, and with the original noise behind them.
        for step, (inputs, clean) in zip(timesteps, lookup.seen, strict=True):
            given = teacher.units.tokens(step)
            assert torch.equal(inputs[:, :given], codebook[codes][:, :given])
            assert torch.equal(inputs[:, given:], noise[:, given:])
            assert clean.sum(1).tolist() == [given] * 3


@KINDS
def test_oracle_11_split_decides_which_head_is_read(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher), code_vectors(teacher.tokenizer)
    noise = noise_of([3, 4, 5], teacher.units.total, codebook.shape[1])
    condition = student.condition_of(torch.tensor(LABELS))

    def draw(**settings):
        return draw_sequences(student, condition, noise, codebook, DistilledOptions(**settings))

    hidden = student.hidden(noise, torch.zeros(noise.shape[:2], dtype=torch.bool), condition)
    rows = draw(split=student.units.count)
    assert torch.equal(rows.vectors, codebook[rows.codes])
    assert torch.equal(rows.codes, student.logits(hidden, condition).argmax(-1))
    continuous = draw(split=0)
    torch.testing.assert_close(continuous.vectors, student.continuous(hidden, condition))
    assert not torch.equal(continuous.vectors, codebook[continuous.codes])
    nearest = torch.cdist(continuous.vectors, codebook.expand(3, -1, -1)).argmin(-1)
    assert torch.equal(continuous.codes, nearest)
    snapped = draw(split=0, snap_outputs=True)
    assert torch.equal(snapped.vectors, codebook[nearest])
    half = student.units.count // 2
    mixed, tokens = draw(split=half), student.units.tokens(half)
    assert torch.equal(mixed.vectors[:, :tokens], rows.vectors[:, :tokens])
    assert torch.equal(mixed.vectors[:, tokens:], continuous.vectors[:, tokens:])
    assert torch.equal(draw().vectors, rows.vectors), "the student's own split"


@KINDS
@pytest.mark.parametrize("split", [0, 1, 3])
def test_several_passes_on_the_cache_are_those_of_whole_passes(make_teacher, make_student, kind, split):
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher), code_vectors(teacher.tokenizer)
    noise = noise_of([3, 4, 5], teacher.units.total, codebook.shape[1])
    condition = student.condition_of(torch.tensor(LABELS))
    tokens, x = student.units.tokens(split), noise
    for step in (0, 1, 3):
        given = student.units.tokens(step)
        clean = (torch.arange(student.units.total) < given).expand(3, -1)
        hidden = student.hidden(perturbed(x, noise, clean), clean, condition)
        y = student.continuous(hidden, condition)
        y[:, :tokens] = codebook[student.logits(hidden, condition).argmax(-1)][:, :tokens]
        y[:, :given] = x[:, :given]
        x = y
    drawn = draw_sequences(student, condition, noise, codebook, DistilledOptions(timesteps=(0, 1, 3), split=split))
    torch.testing.assert_close(drawn.vectors, x, atol=1e-5, rtol=0)


@KINDS
def test_passes_and_their_widths_are_counted(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    student = make_student(teacher)
    total, tokens = student.units.total, student.units.tokens

    def stats(**settings):
        assisting = teacher if "teacher_start" in settings else None
        options = DistilledOptions(**settings)
        return generate(student, teacher.tokenizer, LABELS, options, seed=4, teacher=assisting).stats

    one = stats()
    assert one.nfe == one.forwards["student"] == 1
    assert dict(one.row_forwards) == {"student": 3}
    assert dict(one.widths) == {1 + total: 1}
    assert one.tokens_per_forward == total
    assert dict(one.accepted) == {total: 3}
    two = stats(timesteps=(0, 2))
    assert two.nfe == 2
    # The class is not run again.
    assert dict(two.widths) == {1 + total: 1, total: 1}
    assert dict(two.accepted) == {tokens(2): 3, total - tokens(2): 3}
    three = stats(timesteps=(0, 2, 3))
    assert three.nfe == 3
    # Nor are units that were clean before.
    assert three.widths[total - tokens(2)] == 1
    for start, calls in ((2, 3), (1, 4), (0, 4)):
        helped = stats(timesteps=(0, 3), teacher_start=start)
        assert helped.nfe == calls
        assert helped.forwards["student"] == (1 if start == 0 else 2)
        assert helped.generated == [total] * 3
        assert sum(count * times for count, times in helped.accepted.items()) == 3 * total
    assert {"pixels", "student"} <= one.seconds.keys()


@KINDS
def test_an_image_depends_on_its_own_seed_alone(make_teacher, make_student, kind):
    teacher = make_teacher(kind, guidance=2.0)
    student = make_student(teacher)
    for settings in ({}, {"timesteps": (0, 2)}, {"choice": "sample"}, {"timesteps": (0, 2), "teacher_start": 1}):
        options = DistilledOptions(**settings)
        helper = teacher if "teacher_start" in settings else None
        whole = generate(student, teacher.tokenizer, LABELS, options, seed=9, teacher=helper)
        alone = generate(student, teacher.tokenizer, LABELS[1:2], options, seed=[row_seed(9, 1)], teacher=helper)
        torch.testing.assert_close(alone.images[0], whole.images[1], atol=1e-4, rtol=0)
        assert torch.equal(torch.cat(alone.codes, 1)[0], torch.cat(whole.codes, 1)[1])
        other = generate(student, teacher.tokenizer, LABELS, options, seed=10, teacher=helper)
        assert (other.images != whole.images).any()


@KINDS
def test_images_end_at_black_and_white(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    decode = teacher.tokenizer.decode
    teacher.tokenizer.decode = lambda features: 50 * decode(features)
    images = generate(make_student(teacher), teacher.tokenizer, LABELS, seed=9).images
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)


@KINDS
def test_sampled_codes_follow_the_logits(make_teacher, make_student, kind):
    """For models of one law a token: frequencies over many images of one class and one noise."""
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher), code_vectors(teacher.tokenizer)
    rows = 2000
    noise = noise_of([1], teacher.units.total, codebook.shape[1]).expand(rows, -1, -1)
    condition = student.condition_of(torch.full((rows,), 2))
    generators = [torch.Generator().manual_seed(number) for number in range(rows)]
    drawn = draw_sequences(
        student, condition, noise, codebook, DistilledOptions(choice="sample"), generators=generators
    )
    hidden = student.hidden(
        noise[:1], torch.zeros(1, noise.shape[1], dtype=torch.bool), student.condition_of(torch.tensor([2]))
    )
    p = student.logits(hidden, student.condition_of(torch.tensor([2])))[0].softmax(-1)
    for token in (0, noise.shape[1] - 1):
        shares = torch.bincount(drawn.codes[:, token], minlength=24) / rows
        often = p[token] > 0.01
        assert ((shares - p[token]).abs() <= 4 * (p[token] * (1 - p[token]) / rows).sqrt())[often].all()
        assert float(shares[~often].sum()) == pytest.approx(float(p[token][~often].sum()), abs=0.02)


# Teachers in between.


@KINDS
@pytest.mark.parametrize("draw", ["flow", "sample"])
def test_oracle_15_a_teacher_from_the_first_unit_on_is_plain_generation(make_teacher, make_student, kind, draw):
    teacher = make_teacher(kind, guidance=2.5, top_k=9)
    student, codebook = make_student(teacher), code_vectors(teacher.tokenizer)
    seeds = [11, 12, 13]
    options = DistilledOptions(timesteps=(0, 3), teacher_start=0, teacher_draw=draw)
    noise = noise_of(seeds, teacher.units.total, codebook.shape[1])
    if draw == "flow":
        pick = FlowPick(noise, teacher.units, teacher.sampler, codebook, options.solver)
    else:

        def pick(unit, logits, generators):
            return teacher.sampler.pick(logits, generators)

    plain, _ = teacher.draw(LABELS, pick, seed=seeds)
    given = teacher.units.tokens(3)
    drawn = draw_sequences(
        student,
        student.condition_of(torch.tensor(LABELS)),
        noise,
        codebook,
        options,
        assisted=Assisted(teacher, LABELS, seeds),
    )
    assert torch.equal(drawn.codes[:, :given], plain[:, :given])
    assert drawn.stats.forwards["student"] == 1


@KINDS
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("start", [1, 2])
def test_oracle_15_a_prefix_in_one_pass_has_the_logits_of_passes_one_by_one(make_teacher, kind, guidance, start):
    """What the published code, whose prefix sees finer scales, gets wrong."""
    teacher = make_teacher(kind, guidance=guidance)
    given = torch.randint(24, (3, teacher.units.total), generator=torch.Generator().manual_seed(1))
    seen = {"stepwise": [], "prefix": []}

    def forced(name):
        def pick(unit, logits, generators):
            seen[name].append((unit, logits))
            return given[:, teacher.units.part(unit)]

        return pick

    stop = start + 2
    teacher.draw(LABELS, forced("stepwise"), stop=stop)
    known = given[:, : teacher.units.tokens(start)]
    codes, stats = teacher.draw(LABELS, forced("prefix"), given=known, stop=stop)
    assert torch.equal(codes, given[:, : teacher.units.tokens(stop)])
    assert [unit for unit, _ in seen["prefix"]] == [start, start + 1]
    for (_, expected), (_, found) in zip(seen["stepwise"][start:], seen["prefix"], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert stats.nfe == 2
    assert dict(stats.forwards) == ({"scale": 2} if kind == "var" else {"prefill": 1, "step": 1})
    assert sum(stats.row_forwards.values()) == 2 * (3 if guidance == 1 else 6)
    assert stats.generated == [teacher.units.tokens(stop) - teacher.units.tokens(start)] * 3


def test_guidance_that_ends_within_the_given_codes_runs_no_null_half(make_teacher):
    teacher = make_teacher("llamagen", guidance=2.5, guidance_interval=1)

    def pick(unit, logits, generators):
        return logits.argmax(-1)

    whole, stats = teacher.draw(LABELS, pick)
    # The condition's pass and two more are guided: codes 0 to 2.
    assert sum(stats.row_forwards.values()) == 3 * 6 + 13 * 3
    codes, stats = teacher.draw(LABELS, pick, given=whole[:, :4])
    assert torch.equal(codes, whole)
    assert sum(stats.row_forwards.values()) == 12 * 3
    assert sum(teacher.draw(LABELS, pick, given=whole[:, :2])[1].row_forwards.values()) == 6 + 13 * 3


def test_guidance_runs_where_it_is_drawn_with_alone(make_teacher):
    """The ramp begins at 1: the first scale by itself needs no null half, whatever comes behind it is not drawn."""
    teacher = make_teacher("var", guidance=2.5)

    def pick(unit, logits, generators):
        return logits.argmax(-1)

    assert dict(teacher.draw(LABELS, pick, stop=1)[1].row_forwards) == {"scale": 3}
    assert dict(teacher.draw(LABELS, pick, stop=2)[1].row_forwards) == {"scale": 12}


def test_a_prefix_without_a_mask_would_have_other_logits(make_teacher, monkeypatch):
    """The fault of the published code is one that this model shows."""
    teacher = make_teacher("var")
    given = torch.randint(24, (3, 30), generator=torch.Generator().manual_seed(1))
    seen = []

    def pick(unit, logits, generators):
        seen.append(logits)
        return given[:, teacher.units.part(unit)]

    teacher.draw(LABELS, pick, given=given[:, :5], stop=3)
    monkeypatch.setattr("ar_vision.decoding.scalewise.scale_mask", lambda schedule, device: None)
    teacher.draw(LABELS, pick, given=given[:, :5], stop=3)
    assert float((seen[1] - seen[0]).abs().max()) > 1e-2


def test_the_prefix_of_a_var_equals_teacher_forcing(make_teacher):
    teacher = make_teacher("var")
    given = torch.randint(24, (3, 30), generator=torch.Generator().manual_seed(1))
    seen = []
    teacher.draw(LABELS, lambda unit, logits, generators: seen.append(logits) or given[:, 14:], given=given[:, :14])
    schedule = teacher.schedule
    inputs = teacher_inputs(teacher.tokenizer.history(3, schedule), schedule.split(given))
    condition = teacher.model.condition(torch.tensor(LABELS))
    expected = teacher.model.head(teacher.model.teacher_forced(condition, inputs, schedule), condition)
    torch.testing.assert_close(seen[0], expected[:, 14:], atol=1e-4, rtol=0)
    known = ScaleSchedule(schedule.sizes)
    assert scale_mask(known, torch.device("cpu")).shape == (1, 1, 30, 30)


@KINDS
def test_the_teacher_keeps_what_the_student_gave_in_front(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    student, codebook = make_student(teacher), code_vectors(teacher.tokenizer)
    seeds = [1, 2, 3]
    options = DistilledOptions(timesteps=(0, 3), teacher_start=1)
    noise = noise_of(seeds, teacher.units.total, codebook.shape[1])
    first = draw_sequences(
        student, student.condition_of(torch.tensor(LABELS)), noise, codebook, DistilledOptions(split=0)
    )
    # A student's vectors are no codes yet: the teacher gets the nearest.
    x, stats = drawn_again(first.vectors, codebook, options, Assisted(teacher, LABELS, seeds), 3)
    kept, end = teacher.units.tokens(1), teacher.units.tokens(3)
    assert torch.equal(x[:, :kept], codebook[first.codes[:, :kept]])
    assert torch.equal(x[:, end:], first.vectors[:, end:])
    pick = FlowPick(noise, teacher.units, teacher.sampler, codebook, options.solver)
    expected, _ = teacher.draw(LABELS, pick, given=first.codes[:, :kept], stop=3)
    assert torch.equal(x[:, kept:end], codebook[expected[:, kept:]])
    assert isinstance(stats, DecodeStats)
    helped = draw_sequences(
        student,
        student.condition_of(torch.tensor(LABELS)),
        noise,
        codebook,
        options,
        assisted=Assisted(teacher, LABELS, seeds),
    )
    again, _ = drawn_again(
        draw_sequences(student, student.condition_of(torch.tensor(LABELS)), noise, codebook, DistilledOptions()).vectors,
        codebook, options, Assisted(teacher, LABELS, seeds), 3,
    )  # fmt: skip
    clean = (torch.arange(teacher.units.total) < end).expand(3, -1)
    hidden = student.hidden(perturbed(again, noise, clean), clean, student.condition_of(torch.tensor(LABELS)))
    codes = student.logits(hidden, student.condition_of(torch.tensor(LABELS))).argmax(-1)
    assert torch.equal(helped.codes[:, end:], codes[:, end:])
    assert torch.equal(helped.vectors[:, :end], again[:, :end])


# What is refused.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance": 2.0}, "whose guidance was fixed when its pairs were made"),
        ({"timesteps": (1,)}, "give 0 and, ascending"),
        ({"timesteps": ()}, "give 0 and, ascending"),
        ({"teacher_start": 0}, "give two timesteps"),
        ({"teacher_start": 2, "timesteps": (0, 2)}, "a start below t"),
        ({"choice": "best"}, "choose argmax or sample"),
        ({"teacher_draw": "best"}, "flow or sample"),
    ],
)
def test_options_that_are_none(settings, message):
    with pytest.raises(ConfigError, match=message):
        DistilledOptions(**settings)


def test_what_does_not_fit_the_student(make_teacher, make_student):
    teacher = make_teacher("var")
    student = make_student(teacher)

    def refused(message, error=ConfigError, labels=LABELS, teacher_=None, **settings):
        with pytest.raises(error, match=message):
            generate(student, teacher.tokenizer, labels, DistilledOptions(**settings), teacher=teacher_)

    refused("the student has 4 units: give numbers below it", timesteps=(0, 4))
    refused("split is 5 and the model has 4 units", split=5)
    refused("no teacher was given", timesteps=(0, 2), teacher_start=1)
    refused("teacher_start is not set", teacher_=teacher)
    refused("other units", teacher_=make_teacher("llamagen"), timesteps=(0, 2), teacher_start=1)
    refused("classes run from 0 to 4:", DataError, labels=[5])
    other = make_student(make_teacher("llamagen"))
    with pytest.raises(ConfigError, match="has no scales to show"):
        generate(other, make_teacher("llamagen").tokenizer, LABELS, on_scale=print)


@KINDS
def test_diverged_weights_are_told(make_teacher, make_student, kind):
    teacher = make_teacher(kind)
    for name in ("head.linear.weight" if kind == "var" else "output.weight", "continuous_head.linear.weight"):
        student = make_student(teacher)
        student.get_parameter(name).fill_(torch.nan)
        for choice in ("argmax", "sample"):
            with pytest.raises(NumericsError):
                generate(student, teacher.tokenizer, LABELS, DistilledOptions(split=1, choice=choice))
