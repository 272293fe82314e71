"""Teachers whose last units are drawn in one pass."""

import pytest
import torch
from ar_core.errors import ConfigError
from ar_vision.backbones.llamagen.decode import class_condition
from ar_vision.decoding.raster_mask import raster_mask
from ar_vision.distilled_decoding.at_once import draw_at_once

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])
LABELS = [1, 3, 0]


@KINDS
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_with_the_last_unit_alone_it_is_plain_generation(make_teacher, kind, guidance):
    teacher = make_teacher(kind, guidance=guidance, top_k=7)

    def pick(unit, logits, generators):
        return teacher.sampler.pick(logits, generators)

    plain, _ = teacher.draw(LABELS, pick, seed=[5, 6, 7])
    codes, stats = draw_at_once(teacher, LABELS, first=teacher.units.count - 1, seed=[5, 6, 7])
    assert torch.equal(codes, plain)
    assert stats.nfe == teacher.units.count
    assert stats.forwards["at once"] == 1


@KINDS
@pytest.mark.parametrize("first", [0, 1, 3])
def test_units_that_are_drawn_at_once_are_independent(make_teacher, kind, first):
    """No choice in the single pass changes the law of another, and what is known before changes them all."""
    teacher = make_teacher(kind, guidance=2.0)
    codes, stats = draw_at_once(teacher, LABELS, first=first, seed=4)
    again, _ = draw_at_once(teacher, LABELS, first=first, seed=4)
    other, _ = draw_at_once(teacher, LABELS, first=first, seed=5)
    assert torch.equal(codes, again)
    assert not torch.equal(codes, other)
    assert stats.nfe == first + 1
    assert stats.row_forwards["at once"] == 6
    assert stats.generated == [teacher.units.total] * 3
    assert sum(tokens * times for tokens, times in stats.accepted.items()) == 3 * teacher.units.total
    greedy = make_teacher(kind, temperature=0.0)
    assert draw_at_once(greedy, LABELS, first=first)[1].row_forwards["at once"] == 3
    assert torch.equal(*(draw_at_once(greedy, LABELS, first=first, seed=seed)[0] for seed in (1, 2)))


def test_known_scales_reach_the_rest(make_teacher):
    teacher = make_teacher("var", temperature=0.0)
    none, one = (draw_at_once(teacher, LABELS, first=first)[0] for first in (0, 1))
    assert torch.equal(none[:, 0], one[:, 0]), "the first scale knows the class alone, either way"
    assert not torch.equal(none[:, 1:], one[:, 1:])


def test_unknown_codes_of_a_llamagen_are_the_mean_embedding_and_guidance_is_that_of_each_place(make_teacher):
    teacher = make_teacher("llamagen", temperature=0.0, guidance=3.0, guidance_interval=4)
    model, known = teacher.model, 2
    codes, stats = draw_at_once(teacher, LABELS, first=known)
    mean = model.codes.weight.mean(0).expand(6, 16 - 1 - known, -1)
    given = class_condition(model, LABELS).doubled().given
    x = torch.cat([given, model.embed(codes[:, :known].repeat(2, 1)), mean], dim=1)
    logits, null = model.head(model.hidden(x, mask=raster_mask(0, 16, None, x.device))).chunk(2)
    # Places 0 to 5 are guided.
    strength = torch.where(torch.arange(16) < 6, 3.0, 1.0)[:, None]
    expected = (null + strength * (logits - null)).argmax(-1)
    assert torch.equal(codes[:, known:], expected[:, known:])
    assert not torch.equal(codes[:, 6:], (null + 3 * (logits - null)).argmax(-1)[:, 6:])
    assert stats.row_forwards["at once"] == 6


@KINDS
def test_more_units_than_there_are_cannot_come_first(make_teacher, kind):
    teacher = make_teacher(kind)
    with pytest.raises(ConfigError, match="give 0 to one less"):
        draw_at_once(teacher, LABELS, first=teacher.units.count)
