"""LlamaGen of texts: teacher, student and objective, whose conditions are numbers of texts."""

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, DataError
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.decode import LlamaGenOptions
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.distilled_decoding.config import DistilledDecodingConfig
from ar_vision.distilled_decoding.decode import draw_sequences
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.llamagen_loading import from_published, to_published
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.objective import DistilledDecodingObjective
from ar_vision.distilled_decoding.options import DistilledOptions
from ar_vision.distilled_decoding.pairs.draw import draw_pairs
from ar_vision.distilled_decoding.teacher import LlamaGenTeacher, code_vectors

TEXTS = [torch.randn(length, 6, generator=torch.Generator().manual_seed(length)) for length in (1, 2, 3)]


@pytest.fixture
def teacher(make_tokenizer):
    config = LlamaGenConfig(
        layers=2, heads=2, dim=32, vocab_size=24, grid=4, condition="text", text_dim=6, text_tokens=3
    )
    model = LlamaGen(config)
    generator = torch.Generator().manual_seed(0)
    model.initialize(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    tokenizer = make_tokenizer("llamagen")
    return LlamaGenTeacher(model.eval().requires_grad_(False), tokenizer, LlamaGenOptions(guidance=2.0), TEXTS)


def test_pairs_are_functions_of_text_and_seed(teacher):
    assert teacher.conditions == 3
    codes, _ = draw_pairs(teacher, [0, 1, 2, 1], [7, 7, 7, 8], FlowSolver("heun", 6))
    assert len(codes.unique(dim=0)) == 4
    alone, _ = draw_pairs(teacher, [1], [7], FlowSolver("heun", 6))
    assert torch.equal(alone[0], codes[1])
    with pytest.raises(CheckpointError, match="texts were not given"):
        LlamaGenTeacher(teacher.model, teacher.tokenizer, LlamaGenOptions())


def test_a_student_depends_on_its_text_and_not_on_the_padding_of_others(teacher, make_student):
    student = make_student(teacher, timesteps=(0, 4), split=16)
    noise = noise_of([1, 2], 16, 4)
    clean = torch.zeros(2, 16, dtype=torch.bool)

    def outputs(texts):
        condition = student.condition_of_texts(texts)
        hidden = student.hidden(noise[: len(texts)], clean[: len(texts)], condition)
        return torch.cat([student.logits(hidden, condition), student.continuous(hidden, condition)], dim=-1)

    both = outputs([TEXTS[0], TEXTS[2]])
    torch.testing.assert_close(outputs([TEXTS[0]])[0], both[0])
    assert (outputs([TEXTS[1], TEXTS[2]])[0] != both[0]).any(-1).all()
    condition = student.condition_of_texts([TEXTS[1]])
    assert condition.valid.tolist() == [[False, True, True]]
    torch.testing.assert_close(condition.vector[0], condition.tokens[0, 1:].mean(0))


def test_two_passes_on_the_cache_with_padded_texts(teacher, make_student):
    student, codebook = make_student(teacher, timesteps=(0, 4), split=16), code_vectors(teacher.tokenizer)
    noise, condition = noise_of([1, 2], 16, 4), student.condition_of_texts(TEXTS[:2])
    one = draw_sequences(student, condition, noise, codebook, DistilledOptions())
    two = draw_sequences(student, condition, noise, codebook, DistilledOptions(timesteps=(0, 4)))
    clean = (torch.arange(16) < 4).expand(2, -1)
    inputs = torch.where(clean[..., None], codebook[one.codes], noise)
    expected = student.logits(student.hidden(inputs, clean, condition), condition).argmax(-1)
    assert torch.equal(two.codes[:, 4:], expected[:, 4:])
    assert dict(two.stats.widths) == {19: 1, 16: 1}


def test_the_objective_takes_numbers_of_texts(teacher, make_student):
    student = make_student(teacher, timesteps=(0, 4), split=16).requires_grad_(True)
    config = DistilledDecodingConfig(timesteps=(0, 4), split=16)
    objective = DistilledDecodingObjective(config, student, batch_size=3, texts=TEXTS)
    codes = torch.randint(24, (3, 16), generator=torch.Generator().manual_seed(1))
    batch = [{"index": n, "label": n, "seed": n, "codes": codes[n]} for n in range(3)]
    models = {"model": student, "tokenizer": teacher.tokenizer}
    prepared = objective.prepare(batch, SampleRng(0))
    sum(objective.sums(models, prepared).values()).backward()
    assert student.condition.fc1.weight.grad.abs().sum() > 0
    with pytest.raises(DataError, match="text 3 was given and there are 3 texts"):
        objective.prepare([{**batch[0], "label": 3}], SampleRng(0))


def test_published_layout_of_a_model_of_texts(teacher, make_student):
    student = make_student(teacher, timesteps=(0, 4), split=16)
    back = from_published(to_published(student), grid=4, heads=2, timesteps=(0, 4), split=16)
    assert back.config == student.config
    assert all(torch.equal(one, back.state_dict()[name]) for name, one in student.state_dict().items())
