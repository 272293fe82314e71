"""Students: recorded outputs, who sees whom, and passes on a cache."""

import json

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError
from ar_vision.distilled_decoding.student import StudentCondition, perturbed
from ar_vision.distilled_decoding.student_config import LlamaGenStudentConfig, NoiseDataEmbedding, VarStudentConfig
from ar_vision.distilled_decoding.units import Units
from ar_vision.distilled_decoding.var_loading import from_published, to_published
from ar_vision.distilled_decoding.var_student import student_mask
from ar_vision.scales import ScaleSchedule
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def case(golden_dir):
    return load_file(golden_dir / "vision_a" / "dd_var_d2.safetensors")


@pytest.fixture(scope="module")
def recorded(case):
    weights = {name[2:]: tensor for name, tensor in case.items() if name.startswith("w.")}
    weights.pop("quantize.embedding.weight")
    return from_published(weights).requires_grad_(False)


def cleaned(student, units, rows=2):
    return (torch.arange(student.units.total) < student.units.tokens(units)).expand(rows, -1)


@pytest.mark.parametrize("t", [0, 1, 2, 3])
def test_recorded_inputs_and_outputs(case, recorded, t):
    clean = cleaned(recorded, t)
    assert torch.equal(clean[0], ~case["noise_mask"][t].bool())
    inputs = perturbed(case["data"], case["noise"], clean)
    assert torch.equal(inputs, case[f"t{t}.x_t"])
    condition = recorded.condition_of(case["label"].long())
    hidden = recorded.hidden(inputs, clean, condition)
    torch.testing.assert_close(recorded.logits(hidden, condition), case[f"t{t}.logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(recorded.continuous(hidden, condition), case[f"t{t}.conti"], atol=1e-4, rtol=0)
    states, head = recorded.matrix_head(hidden, condition)
    torch.testing.assert_close(head(states), case[f"t{t}.logits"], atol=1e-4, rtol=0)


def test_recorded_mask_and_names_come_back(case, recorded, golden_dir):
    back = to_published(recorded)
    keys = json.loads((golden_dir / "vision_a" / "dd_var_d2_keys.json").read_text())
    assert {name: [list(one.shape), str(one.dtype)] for name, one in back.items()} == keys
    for name, tensor in case.items():
        if name.startswith("w.") and name != "w.quantize.embedding.weight":
            torch.testing.assert_close(back[name[2:]], tensor.to(back[name[2:]].dtype), atol=0, rtol=0)
    # Recorded with -1e9 in the place of -inf.
    assert torch.equal(back["attn_bias_for_masking"].isinf(), case["attn_bias"] < -1e8)


def test_the_mask_is_the_one_that_is_drawn():
    drawn = student_mask.__doc__.split("::")[1].splitlines()
    rows = [line.split()[-6:] for line in drawn if "#" in line]
    expected = torch.tensor([[cell == "#" for cell in row] for row in rows])
    assert torch.equal(student_mask(ScaleSchedule.square(1, 2), 0, torch.device("cpu")).dense()[0, 0], expected)
    later = student_mask(ScaleSchedule.square(1, 2), 2, torch.device("cpu")).dense()[0, 0]
    assert torch.equal(later, expected[2:])


def outputs(student, inputs, clean, labels=(1, 3)):
    condition = student.condition_of(torch.tensor(labels))
    hidden = student.hidden(inputs, clean, condition)
    return torch.cat([student.logits(hidden, condition), student.continuous(hidden, condition)], dim=-1)


def gaussian(student, rows=2, seed=0):
    shape = rows, student.units.total, student.config.code_dim
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_oracle_8_noise_of_a_var_token_reaches_itself_and_finer_scales_alone(make_teacher, make_student):
    student = make_student(make_teacher("var"))
    inputs, scales = gaussian(student), student.schedule.scale_ids()
    clean = cleaned(student, 0)
    before = outputs(student, inputs, clean)
    for token in (0, 2, 7, 20):
        changed = inputs.clone()
        changed[:, token] += 1
        moved = (outputs(student, changed, clean) != before).any(-1).all(0)
        reached = scales > scales[token]
        reached[token] = True
        # Exactly the same where it is hidden, and another everywhere else.
        assert torch.equal(moved, reached), token


def test_oracle_8_noise_of_a_llamagen_token_reaches_itself_and_later_ones_alone(make_teacher, make_student):
    student = make_student(make_teacher("llamagen"))
    inputs, clean = gaussian(student), cleaned(student, 0)
    before = outputs(student, inputs, clean)
    for token in (0, 5, 15):
        changed = inputs.clone()
        changed[:, token] += 1
        moved = (outputs(student, changed, clean) != before).any(-1).all(0)
        assert torch.equal(moved, torch.arange(16) >= token), token


@pytest.mark.parametrize("kind", ["var", "llamagen"])
def test_class_mark_and_heads_matter_and_rows_do_not_mix(make_teacher, make_student, kind):
    student = make_student(make_teacher(kind))
    inputs = gaussian(student)
    before = outputs(student, inputs, cleaned(student, 0))
    assert (outputs(student, inputs, cleaned(student, 0), (1, 2))[1] != before[1]).any(-1).all()
    assert torch.equal(outputs(student, inputs, cleaned(student, 0), (1, 2))[0], before[0])
    # The same inputs, called data up to a unit: those tokens and all that see them change.
    marked = outputs(student, inputs, cleaned(student, 1))
    assert (marked != before).any(-1).all()
    # Rows with timesteps of their own, as in training.
    both = torch.stack([cleaned(student, 0)[0], cleaned(student, 2)[0]])
    mixed = outputs(student, inputs, both)
    torch.testing.assert_close(mixed[0], before[0])
    torch.testing.assert_close(mixed[1], outputs(student, inputs, cleaned(student, 2))[1])


@pytest.mark.parametrize("kind", ["var", "llamagen"])
@pytest.mark.parametrize(
    "marks",
    [NoiseDataEmbedding(True, False), NoiseDataEmbedding(False, True), NoiseDataEmbedding(True, True)],
    ids=["input", "layerwise", "both"],
)
def test_marks_of_noise_and_data_wherever_they_are(make_teacher, make_student, kind, marks):
    student = make_student(make_teacher(kind), noise_data_embed=marks)
    names = [name for name, _ in student.named_parameters() if "layerwise" in name]
    assert len(names) == (2 * 3 if marks.layerwise else 0)
    inputs = gaussian(student)
    assert (
        (outputs(student, inputs, cleaned(student, 0)) != outputs(student, inputs, cleaned(student, 1))).any(-1).all()
    )


def test_layerwise_marks_are_the_linear_layers_of_the_vectors(make_teacher, make_student):
    marks = make_student(make_teacher("var")).noise_data
    clean = torch.tensor([[True, False, False]])
    for layer in range(3):
        expected = marks.layerwise[layer](marks.table(clean.long()))
        torch.testing.assert_close(marks.inside(layer, clean), expected)
    assert marks.inside(0, clean)[0, 0].ne(marks.inside(0, clean)[0, 1]).any()


@pytest.mark.parametrize("kind", ["var", "llamagen"])
@pytest.mark.parametrize("units", [0, 1, 3])
def test_a_second_pass_on_the_cache_equals_a_whole_one(make_teacher, make_student, kind, units):
    student = make_student(make_teacher(kind))
    noise, data = gaussian(student), gaussian(student, seed=1)
    condition = student.condition_of(torch.tensor([1, 3]))
    given, total = student.units.tokens(units), student.prefix + student.units.total
    clean = cleaned(student, units)
    cache = student.new_cache(2, total)
    # Behind what is clean the first pass may see anything.
    cache.window(total)
    first = student.hidden(perturbed(data, noise, clean), clean, condition, cache=cache)
    cache.keep(student.prefix + given)
    later = cleaned(student, units + 1)
    x = perturbed(data, noise, later)
    cache.window(total - student.prefix - given)
    found = student.hidden(x, later, condition, known=student.prefix + given, cache=cache)
    whole = student.hidden(x, later, condition)
    torch.testing.assert_close(found, whole[:, given:], atol=1e-5, rtol=0)
    assert first.shape == whole.shape
    assert found.shape[1] == student.units.total - given


@pytest.mark.parametrize("kind", ["var", "llamagen"])
def test_the_condition_is_data_and_the_last_linear_layer_of_the_marks_is_that_of_the_heads(
    make_teacher, make_student, kind
):
    student = make_student(make_teacher(kind), noise_data_embed=NoiseDataEmbedding(True, True))
    inputs, noisy = gaussian(student), cleaned(student, 0)
    clean = torch.ones_like(noisy)
    marks, of_noise = student.noise_data, outputs(student, inputs, noisy)
    marks.layerwise[-1].bias.add_(torch.linspace(-1, 1, 32))
    assert (outputs(student, inputs, noisy) != of_noise).any(-1).all()
    of_data = outputs(student, inputs, clean)
    # Where no token is noise, nothing is: its vector could be any.
    marks.table.weight[0].add_(1)
    assert torch.equal(outputs(student, inputs, clean), of_data)
    assert (outputs(student, inputs, noisy) != of_noise).any(-1).all()


def test_oracle_9_perturbed_is_data_and_noise_bit_by_bit(make_teacher, make_student):
    student = make_student(make_teacher("var"))
    noise, data = gaussian(student), gaussian(student, seed=1)
    for units in range(student.units.count):
        given = student.units.tokens(units)
        x = perturbed(data, noise, cleaned(student, units))
        assert torch.equal(x[:, :given], data[:, :given])
        assert torch.equal(x[:, given:], noise[:, given:])


def test_the_continuous_head_adds_the_class_itself(make_teacher, make_student):
    student = make_student(make_teacher("llamagen"))
    hidden = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(2))
    vector = student.condition.table.weight[[1, 3]]
    head = student.continuous_head
    shift, scale = (head.shift_and_scale[None] + vector[:, None]).unbind(1)
    expected = head.linear(F.layer_norm(hidden, (32,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None])
    torch.testing.assert_close(head(hidden, vector), expected)
    # It reads the state in front of the last norm, whose weights are the logits' own.
    assert (student.norm.weight != 1).any()
    torch.testing.assert_close(student.continuous(hidden, StudentCondition(vector[:, None], vector)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(head(hidden, vector), expected)


def test_units():
    units = Units([1, 4, 9])
    assert (units.count, units.total, units.tokens(2)) == (3, 14, 5)
    assert units.part(1) == slice(1, 5)
    with pytest.raises(ConfigError, match="split is 4 and the model has 3 units"):
        units.require("split", 4)


SIZES = {"vocab_size": 24, "code_dim": 8}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "timesteps are"),
        ({"timesteps": (1, 2)}, "timesteps are"),
        ({"timesteps": (0, 3, 2)}, "timesteps are"),
        ({"timesteps": (0, 4)}, "numbers of scales below 4"),
        ({"split": 5}, "split is 5 and there are 4 scales"),
    ],
)
def test_shapes_that_are_none_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        VarStudentConfig(**SIZES, scales=(1, 2, 3, 4), **{"split": 2, **settings})
    with pytest.raises(ConfigError, match="numbers of codes below 16"):
        LlamaGenStudentConfig(grid=4, timesteps=(0, 16), split=3)
    with pytest.raises(ConfigError, match="neither input nor layerwise"):
        NoiseDataEmbedding(False, False)
