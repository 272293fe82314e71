"""Labels as users and data give them, and samples that lose theirs."""

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_vision.backbones.class_labels import checked_labels
from ar_vision.backbones.condition_dropout import drops_condition


def test_the_null_class_is_one_behind_the_last():
    assert checked_labels([0, 4, 5], 5).tolist() == [0, 4, 5]
    assert checked_labels(torch.tensor([1], dtype=torch.int8), 5).dtype == torch.int64
    with pytest.raises(DataError, match="the label 5 was given: classes run from 0 to 4: correct it"):
        checked_labels([0, 5], 5, null=False)


@pytest.mark.parametrize("labels", [[], [0.5], [True], [[1]], ["a"], [None], [10**30], [[1], [1, 2]], 3])
def test_what_is_no_list_of_labels(labels):
    with pytest.raises(DataError, match="give one"):
        checked_labels(labels, 5)


@pytest.mark.parametrize("label", [-1, 6])
def test_labels_out_of_range(label):
    with pytest.raises(DataError, match=f"the label {label} was given: classes run from 0 to 4, and 5 stands for no"):
        checked_labels([0, label], 5)


def test_dropping_is_a_matter_of_the_sample():
    rng = SampleRng(seed=7)
    found = [drops_condition(0.3, rng, index) for index in range(400)]
    assert found == [drops_condition(0.3, SampleRng(seed=7), index) for index in range(400)]
    assert 0.22 < sum(found) / 400 < 0.38
    assert not any(drops_condition(0.0, rng, index) for index in range(50))
    assert all(drops_condition(1.0, rng, index) for index in range(50))
