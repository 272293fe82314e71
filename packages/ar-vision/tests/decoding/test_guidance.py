"""What both loops share: how far the null half goes, and logits that are none."""

import pytest
import torch
from ar_core.errors import NumericsError
from ar_vision.decoding.guidance import doubled, guided_logits, guided_passes, require_sound, sound


def test_the_null_half_runs_up_to_the_last_guided_pass():
    assert [guided_passes(g) for g in ([], [1.0], [1, 2, 1], [3.0, 1.0], [1, 0.5])] == [0, 0, 2, 1, 2]


def test_without_guidance_the_head_runs_for_the_images_alone():
    logits, asked = torch.arange(8.0).view(4, 1, 2), []

    def head(rows):
        asked.append(rows)
        return logits[:rows]

    assert torch.equal(guided_logits(head, 2, 1.0), logits[:2])
    assert torch.equal(guided_logits(head, 2, 3.0), logits[2:] + 3 * (logits[:2] - logits[2:]))
    assert asked == [2, 4]


def test_both_halves_are_fed_alike():
    x = torch.randn(2, 3, 4)
    assert doubled(x, 2) is x
    assert torch.equal(doubled(x, 4), torch.cat([x, x]))


def test_logits_without_a_largest_number_are_refused():
    good = torch.tensor([[[0.0, -torch.inf]], [[1.0, 2.0]]])
    require_sound(sound(good))
    for wrong in (torch.nan, torch.inf):
        bad = good.clone()
        bad[1, 0, 0] = wrong
        with pytest.raises(NumericsError, match="logits are not numbers"):
            require_sound(sound(bad))
    with pytest.raises(NumericsError):
        require_sound(sound(torch.full((1, 1, 2), -torch.inf)))
