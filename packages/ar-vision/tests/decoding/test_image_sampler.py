"""Choosing codes from logits: the published filters, and streams that belong to rows."""

import math

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.sampling import row_generators
from ar_vision.decoding.image_sampler import ImageSampler
from torch import Tensor


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))


def test_a_row_draws_the_same_in_any_batch_and_in_passes_of_any_width(logits: Tensor) -> None:
    sampler = ImageSampler("llamagen", top_k=9, top_p=0.9)
    together = sampler.pick(logits, row_generators(7, 3))
    for row, generator in enumerate(row_generators(7, 3)):
        one_by_one = [sampler.pick(logits[row : row + 1, [i]], [generator]) for i in range(5)]
        assert torch.equal(torch.cat(one_by_one, dim=1)[0], together[row])


def test_given_numbers_choose_what_a_generator_would_have(logits: Tensor) -> None:
    sampler = ImageSampler("var", top_k=9, top_p=0.9)
    numbers = torch.stack([torch.rand(5, dtype=torch.float64, generator=g) for g in row_generators(7, 3)])
    assert torch.equal(sampler.place(logits, numbers), sampler.pick(logits, row_generators(7, 3)))
    flat = sampler.place(logits.flatten(0, 1), numbers.flatten())
    assert torch.equal(flat.view(3, 5), sampler.place(logits, numbers))
    assert torch.equal(ImageSampler(temperature=0).place(logits, numbers), logits.argmax(-1))


def test_draws_follow_the_filtered_distribution() -> None:
    scores = torch.tensor([2.0, 1.0, 0.5, -1.0]).expand(1, 20_000, 4)
    sampler = ImageSampler("var", temperature=0.7, top_k=3)
    counts = sampler.pick(scores, row_generators(1, 1))[0].bincount(minlength=4) / 20_000
    expected = torch.tensor([2.0, 1.0, 0.5, -math.inf]).div(0.7).softmax(-1)
    assert counts[3] == 0
    assert (counts - expected).abs().max() < 0.02


def test_conventions_differ_where_the_mass_meets_the_edge() -> None:
    scores = torch.tensor([[[0.5, 0.25, 0.125, 0.125]]]).log()
    kept = {
        name: ImageSampler(name, top_p=0.75).filtered(scores).isfinite()[0, 0].tolist() for name in ("var", "llamagen")
    }
    assert kept["var"] == [True, True, False, False]
    assert kept["llamagen"] == [True, True, True, False]


@pytest.mark.parametrize("convention", ["var", "llamagen"])
def test_no_limits_leave_the_softmax_alone(convention: str, logits: Tensor) -> None:
    for sampler in (ImageSampler(convention), ImageSampler(convention, top_k=16, top_p=1.0)):
        assert torch.equal(sampler.filtered(logits), logits)


def test_what_is_kept_renormalises_to_one(logits: Tensor) -> None:
    for convention in ("var", "llamagen"):
        mass = ImageSampler(convention, top_k=5, top_p=0.8).filtered(logits).softmax(-1).sum(-1)
        assert (mass - 1).abs().max() <= 1e-6


def test_ties_at_the_kth_value_are_all_kept() -> None:
    scores = torch.tensor([[[3.0, 2.0, 2.0, 2.0, 1.0]]])
    for convention in ("var", "llamagen"):
        assert ImageSampler(convention, top_k=2).filtered(scores).isfinite()[0, 0].tolist() == [True] * 4 + [False]


def test_greedy_needs_no_generators(logits: Tensor) -> None:
    assert torch.equal(ImageSampler(temperature=0.0, top_k=1).pick(logits), logits.argmax(-1))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"convention": "gpt"}, "choose var or llamagen"),
        ({"temperature": -1.0}, "at least 0"),
        ({"top_k": 0}, "None for no limit"),
        ({"top_p": 1.5}, r"\(0, 1\]"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ImageSampler(**given)


def test_a_generator_for_each_row_is_asked_for(logits: Tensor) -> None:
    with pytest.raises(ConfigError, match="each of 3 rows, and 1 were given"):
        ImageSampler().pick(logits, row_generators(0, 1))
