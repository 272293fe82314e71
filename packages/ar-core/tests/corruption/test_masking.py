"""Masking samplers: rates, supervision, complementary views, independence of batching."""

import math

import pytest
import torch
from ar_core.corruption import FixedRate, SampleRng, UniformRatePerBlock, complementary_pair, hide
from ar_core.errors import ConfigError

SAMPLERS = [UniformRatePerBlock(), FixedRate(0.3)]


def blocks_of(length: int, size: int) -> torch.Tensor:
    return torch.arange(length) // size


@pytest.mark.parametrize("length", [1, 7, 63, 100])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_maskable_positions_are_hidden(sampler, length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    maskable = torch.rand(length, generator=generator) < 0.5
    for _ in range(20):
        hidden = sampler(maskable, blocks_of(length, 8), generator)
        assert hidden.dtype == torch.bool
        assert not (hidden & ~maskable).any()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_views_are_disjoint_and_cover_the_supervised(sampler) -> None:
    """Oracle 5, on the draw itself."""
    generator = torch.Generator().manual_seed(0)
    maskable = torch.rand(100, generator=generator) < 0.7
    first, second = complementary_pair(sampler(maskable, blocks_of(100, 7), generator), maskable)
    assert not (first & second).any()
    assert torch.equal(first | second, maskable)


def test_hide_leaves_the_rest_and_the_caller_alone() -> None:
    """Oracle 6, on one view."""
    ids = torch.arange(10)
    before = ids.clone()
    hidden = torch.tensor([0, 1] * 5, dtype=torch.bool)
    view = hide(ids, hidden, mask_id=99)
    assert torch.equal(ids, before)
    assert (view[hidden] == 99).all()
    assert torch.equal(view[~hidden], ids[~hidden])


def test_epsilon_is_the_lowest_rate() -> None:
    everything = torch.ones(64_000, dtype=torch.bool)
    blocks = blocks_of(64_000, 8)
    assert UniformRatePerBlock(1.0)(everything, blocks, torch.Generator().manual_seed(0)).all()
    hidden = UniformRatePerBlock(0.5)(everything, blocks, torch.Generator().manual_seed(0))
    assert abs(hidden.float().mean().item() - 0.75) < 0.01


def test_fraction_masked_and_counts_per_block() -> None:
    """Oracle 18: mean rate (1 + eps) / 2 within 3 sigma; counts follow the uniform mixture of binomials.

    With eps = 0 that mixture gives every count 0..D the probability 1 / (D + 1); eps = 1e-3 moves it by less than the
    noise of this many blocks.
    """
    size, num_blocks = 8, 40_000
    sampler = UniformRatePerBlock(1e-3)
    hidden = sampler(
        torch.ones(size * num_blocks, dtype=torch.bool),
        blocks_of(size * num_blocks, size),
        torch.Generator().manual_seed(1),
    )
    counts = hidden.view(num_blocks, size).sum(-1)
    # Var of one count: E[D p (1-p)] + Var(D p), p ~ U(0, 1).
    sigma = math.sqrt(size / 6 + size**2 / 12) / size / math.sqrt(num_blocks)
    assert abs(hidden.float().mean().item() - 0.5005) < 3 * sigma
    share = torch.bincount(counts, minlength=size + 1) / num_blocks
    expected = 1 / (size + 1)
    tolerance = 4 * math.sqrt(expected * (1 - expected) / num_blocks)
    assert (share - expected).abs().max() < tolerance


def test_fixed_rate_is_the_rate() -> None:
    hidden = FixedRate(0.15)(
        torch.ones(100_000, dtype=torch.bool), blocks_of(100_000, 32), torch.Generator().manual_seed(0)
    )
    assert abs(hidden.float().mean().item() - 0.15) < 3 * math.sqrt(0.15 * 0.85 / 100_000)


def test_tokens_of_a_block_share_a_rate_and_blocks_do_not() -> None:
    sampler = UniformRatePerBlock(0.0)
    hidden = sampler(torch.ones(64_000, dtype=torch.bool), blocks_of(64_000, 64), torch.Generator().manual_seed(2))
    rates = hidden.view(-1, 64).float().mean(-1)
    # Independent tokens would spread by 1/16; one rate per block spreads by sqrt(1/12).
    assert abs(rates.std().item() - math.sqrt(1 / 12)) < 0.02


def test_draws_in_the_order_of_the_published_code() -> None:
    generator = torch.Generator().manual_seed(7)
    levels = torch.rand(3, generator=generator)
    uniforms = torch.rand(3, 5, generator=generator)
    expected = uniforms < ((1 - 1e-3) * levels + 1e-3)[:, None]
    drawn = UniformRatePerBlock(1e-3)(
        torch.ones(15, dtype=torch.bool), blocks_of(15, 5), torch.Generator().manual_seed(7)
    )
    assert torch.equal(drawn.view(3, 5), expected)


def test_a_draw_belongs_to_its_sample() -> None:
    rng = SampleRng(3)
    maskable, blocks = torch.ones(32, dtype=torch.bool), blocks_of(32, 8)
    draws = [UniformRatePerBlock()(maskable, blocks, rng.row(i, "mask")) for i in range(4)]
    again = [UniformRatePerBlock()(maskable, blocks, rng.row(i, "mask")) for i in reversed(range(4))]
    assert all(torch.equal(a, b) for a, b in zip(draws, reversed(again)))
    assert not torch.equal(draws[0], draws[1])


@pytest.mark.parametrize(("make", "value"), [(UniformRatePerBlock, 1.5), (FixedRate, -0.1)])
def test_rates_out_of_range_are_refused(make, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"is {value}, but a masking rate lies in \[0, 1\]: give one"):
        make(value)
