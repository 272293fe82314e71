import pytest
import torch
from ar_core.errors import ConfigError
from ar_vision.scales import ScaleSchedule


def test_counts_and_places():
    schedule = ScaleSchedule.of([[1, 1], [2, 3], [4, 4]])
    assert (schedule.count, schedule.lengths, schedule.total) == (3, (1, 6, 16), 23)
    assert schedule.slices == (slice(0, 1), slice(1, 7), slice(7, 23))
    assert schedule.scale_ids().tolist() == [0] + [1] * 6 + [2] * 16
    assert [part.tolist() for part in schedule.split(torch.arange(23)[None])][1] == [[1, 2, 3, 4, 5, 6]]
    assert (str(schedule), str(ScaleSchedule.square(1, 2, 16))) == ("1x1,2x3,4x4", "1,2,16")


@pytest.mark.parametrize(
    ("sides", "total"),
    [((1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 680), ((1, 2, 3, 4, 6, 9, 13, 18, 24, 32), 2240),
     ((1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64), 9451)],
)  # fmt: skip
def test_published_schedules_have_their_lengths(sides, total):
    assert ScaleSchedule.of(sides).total == total


@pytest.mark.parametrize(
    ("sizes", "part"),
    [([], "at least one"), ([0, 1], "at least one"), ([2, 1], "1x1 follows 2x2"), ([[1, 2, 3]], "its side, or")],
)
def test_what_is_no_schedule(sizes, part):
    with pytest.raises(ConfigError, match=part):
        ScaleSchedule.of(sizes)


def test_tokens_of_another_schedule_are_refused():
    with pytest.raises(ConfigError, match="7 tokens were given for the scales 1,2, which have 5"):
        ScaleSchedule.square(1, 2).split(torch.zeros(1, 7))
