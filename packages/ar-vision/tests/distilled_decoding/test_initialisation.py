"""Students that begin with their teacher's weights."""

from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.masks import Mask, Tokens, scale_causal
from ar_vision.distilled_decoding import var_student
from ar_vision.distilled_decoding.initialisation import build_student, fitted_linear
from ar_vision.distilled_decoding.student import perturbed
from ar_vision.distilled_decoding.student_config import NoiseDataEmbedding
from ar_vision.distilled_decoding.teacher import code_vectors
from torch import nn

SETTINGS = {"timesteps": (0, 2), "split": 3}
KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])


def built(teacher, **settings):
    return build_student(teacher.model, teacher.tokenizer, **SETTINGS, **settings)


@KINDS
def test_oracle_14_every_class_and_every_block_is_the_teachers(make_teacher, kind):
    teacher = make_teacher(kind)
    own, given = built(teacher).state_dict(), teacher.model.state_dict()
    classes = "class_embedding.weight" if kind == "var" else "condition.table.weight"
    # Published code overwrites class 1.
    assert torch.equal(own[classes], given[classes])
    taken = {name for name in given if name not in ("positions", "scale_embedding.weight", "codes.weight")}
    assert all(torch.equal(own[name], given[name]) for name in taken)
    assert any(name.startswith(("blocks.1.", "layers.1.")) for name in taken)
    assert any(name.startswith(("head.", "output.")) for name in taken)


def test_oracle_14_scales_of_a_var_move_up_by_the_class(make_teacher):
    teacher = make_teacher("var")
    student, given = built(teacher), teacher.model
    for own, theirs in (
        (student.scale_embedding.weight, given.scale_embedding.weight),
        (student.positions[0], given.positions[0]),
    ):
        assert torch.equal(own[0], theirs[0])
        assert torch.equal(own[2:], theirs[1:])
        assert own[1].isfinite().all()
        assert 0 < own[1].abs().max() < 0.5
        assert not (own[1] == theirs).all(-1).any()


def test_oracle_14_with_marks_of_zero_and_the_teachers_mask_the_blocks_are_the_teachers(make_teacher, monkeypatch):
    """The class token and tokens of scales 1 and finer then go through the teacher's own computation, the first scale apart."""
    teacher = make_teacher("var")
    student, schedule = built(teacher).eval(), teacher.schedule
    with torch.no_grad():
        for parameter in student.noise_data.parameters():
            parameter.zero_()
    noise = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(0))
    scales = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + schedule.scale_ids()])

    def mask(schedule, known, device):
        # Block-causal, but for the token that the teacher does not have, which nobody else sees.
        ids = torch.where(scales == 1, 99, scales)
        return Mask.self_attention(scale_causal(), Tokens(scale=ids))

    monkeypatch.setattr(var_student, "student_mask", mask)
    condition = student.condition_of(torch.tensor([1, 3]))
    found = student.hidden(noise, torch.zeros(2, 30, dtype=torch.bool), condition)[:, 1:]
    inputs = [part.transpose(1, 2).unflatten(2, size) for part, size in zip(schedule.split(noise), schedule.sizes)][1:]
    expected = teacher.model.teacher_forced(teacher.model.condition(torch.tensor([1, 3])), inputs, schedule)[:, 1:]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@KINDS
def test_marks_inside_layers_begin_at_zero_and_those_at_the_input_do_not(make_teacher, kind):
    marks = built(make_teacher(kind), noise_data_embed=NoiseDataEmbedding(True, True)).noise_data
    assert len(marks.layerwise) == 3
    assert not any(parameter.any() for parameter in marks.layerwise.parameters())
    assert marks.table.weight.any(1).all()


def test_the_input_layer_of_a_llamagen_is_the_least_squares_fit(make_teacher):
    teacher = make_teacher("llamagen")
    vectors, targets = code_vectors(teacher.tokenizer), teacher.model.codes.weight
    student = built(teacher)

    def error(weight, bias):
        return float((vectors @ weight.T + bias - targets).square().sum())

    weight, bias = student.codes.weight.detach(), student.codes.bias.detach()
    best = error(weight, bias)
    assert best < 0.95 * error(torch.zeros_like(weight), targets.mean(0)), "better than the mean of the embeddings"
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        moved = weight + 0.01 * torch.randn(weight.shape, generator=generator)
        assert error(moved, bias) > best
        assert error(weight, bias + 0.01 * torch.randn(bias.shape, generator=generator)) > best
    exact = torch.randn(24, 4, generator=generator)
    linear = nn.Linear(4, 7)
    found = fitted_linear(exact, linear(exact).detach())
    torch.testing.assert_close(found[0], linear.weight.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], linear.bias.detach(), atol=1e-5, rtol=0)


@KINDS
def test_a_fresh_student_has_nothing_of_its_teacher_and_its_seed_decides_it(make_teacher, kind):
    teacher = make_teacher(kind)
    fresh, given = built(teacher, from_teacher=False).state_dict(), teacher.model.state_dict()
    assert not any(
        torch.equal(fresh[name], given[name])
        for name in given
        if fresh[name].shape == given[name].shape and fresh[name].ndim > 1
    )
    same, other = (built(teacher, from_teacher=False, seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(same[name], one) for name, one in fresh.items())
    assert any(not torch.equal(other[name], one) for name, one in fresh.items())


@KINDS
def test_the_global_generator_is_left_alone_and_dropout_is_off(make_teacher, kind):
    teacher = make_teacher(kind)
    before = torch.get_rng_state()
    student = built(teacher)
    assert torch.equal(torch.get_rng_state(), before)
    assert student.training
    assert all(one.p == 0 for one in student.modules() if isinstance(one, nn.Dropout))
    noise = torch.zeros(1, student.units.total, student.config.code_dim)
    clean = torch.zeros(1, student.units.total, dtype=torch.bool)
    condition = student.condition_of(torch.tensor([0]))
    first, again = (student.hidden(perturbed(noise, noise, clean), clean, condition) for _ in range(2))
    assert torch.equal(first, again)


def test_a_teachers_own_drop_path_is_left_out(make_teacher):
    teacher = make_teacher("var")
    teacher.model.config = replace(teacher.model.config, drop_path=0.3)
    assert built(teacher).config.drop_path == 0.0


def test_students_of_students_and_of_others_are_refused(make_teacher, make_student):
    teacher = make_teacher("llamagen")
    student = make_student(teacher)
    for wrong in (student, nn.Linear(1, 1)):
        with pytest.raises(CheckpointError, match="has students of var and llamagen"):
            build_student(wrong, teacher.tokenizer, **SETTINGS)
