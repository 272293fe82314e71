"""Position-dependent masking; numbers in docstrings are those of the oracles of Efficient-DLM's specification."""

import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from ar_core.corruption import PositionDependent, SampleRng
from ar_core.errors import ConfigError
from safetensors.torch import load_file
from torch import Tensor


def blocks_of(length: int, size: int) -> Tensor:
    return torch.arange(length) // size


def uniforms(num_blocks: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_blocks, generator=generator), torch.rand(num_blocks, width, generator=generator)


def loop(sampler: PositionDependent, sizes: list[int], levels: Tensor, gumbels: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 2, block by block and position by position."""
    hidden, level = [], []
    for size, u, row in zip(sizes, levels.tolist(), gumbels, strict=True):
        t = sampler.min_level + (1 - sampler.min_level) * u
        count = min(size, round(t * size))
        if sampler.block_size is None:
            count = max(1, count)
        nominal = sampler.block_size or size
        beta = 0.0 if sampler.half_life_ratio is None else math.log(2) / (sampler.half_life_ratio * nominal)
        scores = {
            i: beta * (1 - t) * i - math.log(-math.log(float(row[i]) + 1e-9) + 1e-9) for i in range(size)
        }  # fmt: skip
        chosen = sorted(scores, key=scores.__getitem__, reverse=True)[:count]
        hidden += [i in chosen for i in range(size)]
        level += [t] * size
    return torch.tensor(hidden), torch.tensor(level)


@pytest.mark.parametrize("ratio", [None, 1e-6, 0.05, 0.1, 1e9])
@pytest.mark.parametrize(("length", "size"), [(64, 16), (50, 16), (9, 1), (7, 7), (5, 8)])
def test_each_block_hides_exactly_as_many_as_its_level_says(length: int, size: int, ratio: float | None) -> None:
    """Oracle 1."""
    sampler = PositionDependent(size, ratio)
    blocks = blocks_of(length, size)
    for seed in range(20):
        hidden, level = sampler.draw(torch.ones(length, dtype=torch.bool), blocks, SampleRng(seed).row(0, "mask"))
        for block in range(int(blocks[-1]) + 1):
            inside = blocks == block
            (t,) = level[inside].unique().tolist()
            assert hidden[inside].sum() == round(t * int(inside.sum()))


@pytest.mark.parametrize("ratio", [None, 0.05, 0.25])
@pytest.mark.parametrize("sizes", [[16, 16, 16], [16, 16, 3], [2, 16, 1, 7, 16]], ids=str)
@pytest.mark.parametrize("nominal", [16, None])
def test_given_uniforms_decide_as_in_the_formula(sizes: list[int], ratio: float | None, nominal: int | None) -> None:
    """Oracles 2 and 10: all blocks at once, ragged ones included, equal the loop over blocks."""
    sampler = PositionDependent(nominal, ratio)
    blocks = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    for seed in range(10):
        levels, gumbels = uniforms(len(sizes), 16, seed)
        got = sampler.select(blocks, levels, gumbels)
        hidden, level = loop(sampler, sizes, levels, gumbels)
        assert torch.equal(got.hidden, hidden)
        torch.testing.assert_close(got.level, level, rtol=0, atol=1e-6)


@cache
def frequencies(ratio: float | None, num_blocks: int = 40_000, size: int = 64) -> tuple[Tensor, Tensor]:
    """How often each position is hidden, and how many tokens each block hides."""
    levels, gumbels = uniforms(num_blocks, size, seed=1)
    hidden = PositionDependent(size, ratio).select(blocks_of(num_blocks * size, size), levels, gumbels).hidden
    return hidden.view(num_blocks, size).sum(0), hidden.view(num_blocks, size).sum(1)


@pytest.mark.parametrize("ratio", [None, 1e9])
def test_without_a_half_life_positions_are_alike(ratio: float | None) -> None:
    """Oracle 3, lambda -> infinity: chi-square over 64 positions, p > 1e-3."""
    hits, counts = frequencies(ratio)
    # Given its count k, a block hides each position with probability k/64; positions of a block exclude each other,
    # hence the factor 63/64 of a draw without replacement.
    share = counts.double() / 64
    variance = (share * (1 - share)).sum() * 64 / 63
    statistic = ((hits.double() - share.sum()) ** 2 / variance).sum() * 63 / 64
    assert statistic < 103.4  # chi-square, 63 degrees of freedom, p = 1e-3


@pytest.mark.parametrize(
    ("ratio", "curve"),
    [(0.25, (0.374, 0.495, 0.659)), (0.1, (0.264, 0.469, 0.852)), (0.05, (0.191, 0.455, 0.941))],
)
def test_the_curve_over_positions(ratio: float, curve: tuple[float, float, float]) -> None:
    """Oracle 3: mean masking probability at the positions 0, 32 and 63 of 64."""
    hits, _ = frequencies(ratio)
    torch.testing.assert_close(hits[[0, 32, 63]] / 40_000, torch.tensor(curve), rtol=0, atol=0.01)


def test_a_short_half_life_hides_the_last_positions() -> None:
    """Oracle 3, lambda -> 0: exactly the last k for lambda <= 1e-5 and t <= 0.9."""
    levels, gumbels = uniforms(2_000, 64, seed=2)
    hidden, level = PositionDependent(64, 1e-5).select(blocks_of(2_000 * 64, 64), levels * 0.9, gumbels)
    assert level.max() <= 0.9
    rows = hidden.view(2_000, 64).int()
    assert torch.equal(rows, rows.sort(dim=-1).values)
    assert 0 < rows.sum() < rows.numel()


@pytest.mark.parametrize("level", [1e-7, 0.3, 0.9, 1 - 1e-7])
def test_weights_double_over_the_half_life(level: float) -> None:
    """Oracle 4: the weight grows by 2^(1-t) over lambda D positions, hence by 2 for t -> 0 and not at all at t = 1.

    Seen on the draw of the last place: all other hidden tokens are certain, all other visible ones hopeless, and of two
    that are lambda D apart the later one wins exactly if its Gumbel noise is not smaller by more than the log ratio.
    """
    sampler = PositionDependent(None, 0.25, min_level=0.0)
    first, second, size = 20, 36, 64
    certain = min(size - 2, max(1, round(level * size)) - 1)
    others = [i for i in range(size) if i not in (first, second)][::-1]
    uniform = torch.full((1, size), 1e-300, dtype=torch.float64)
    uniform[0, others[:certain]] = 1 - 1e-9
    uniform[0, first] = 0.9
    equal = math.exp(math.log(0.9) * 2 ** (1 - level))
    for factor, winner in ((1 - 1e-6, first), (1 + 1e-6, second)):
        uniform[0, second] = equal * factor
        given = torch.tensor([level], dtype=torch.float64)
        hidden = sampler.select(torch.zeros(size, dtype=torch.int64), given, uniform).hidden
        if certain + 1 < round(level * size):
            assert hidden[[first, second]].all()
        else:
            assert hidden[[first, second]].tolist() == [winner == first, winner == second]


def test_at_full_noise_everything_is_hidden() -> None:
    """Oracle 5, on the draw."""
    hidden, level = PositionDependent(8).select(blocks_of(19, 8), torch.ones(3), uniforms(3, 8)[1])
    assert hidden.all()
    assert (level == 1).all()


def test_the_largest_weight_is_twice_the_block() -> None:
    """k >= 1 needs t >= 0.5 / n, so that 1 / t of a hidden token is at most 2 n."""
    levels, gumbels = uniforms(40_000, 16, seed=3)
    hidden, level = PositionDependent(16).select(blocks_of(40_000 * 16, 16), levels, gumbels)
    assert 16 < (1 / level[hidden]).max() <= 32
    assert (1 / level).max() > 100


def test_only_maskable_positions_are_hidden_and_levels_stay() -> None:
    maskable = torch.arange(40) % 3 > 0
    some = PositionDependent(8).draw(maskable, blocks_of(40, 8), SampleRng(0).row(1, "mask"))
    everything = PositionDependent(8).draw(
        torch.ones(40, dtype=torch.bool), blocks_of(40, 8), SampleRng(0).row(1, "mask")
    )
    assert torch.equal(some.hidden, everything.hidden & maskable)
    assert torch.equal(some.level, everything.level)
    assert not torch.equal(some.hidden, everything.hidden)


def test_levels_are_drawn_before_positions() -> None:
    generator = torch.Generator().manual_seed(7)
    levels, gumbels = torch.rand(3, generator=generator), torch.rand(3, 8, generator=generator)
    sampler = PositionDependent(8)
    drawn = sampler.draw(torch.ones(20, dtype=torch.bool), blocks_of(20, 8), torch.Generator().manual_seed(7))
    given = sampler.select(blocks_of(20, 8), levels, gumbels)
    assert torch.equal(drawn.hidden, given.hidden)
    assert torch.equal(drawn.level, given.level)


@pytest.mark.golden
@pytest.mark.parametrize("number", range(5))
def test_recorded_masks(number: int, golden_dir: Path) -> None:
    """The published draws (text/edlm_masking): the same uniforms hide the same tokens at the same levels."""
    case = json.loads((golden_dir / "text/edlm_masking.json").read_text())["cases"][number]
    tensors = load_file(golden_dir / "text/edlm_masking.safetensors")
    tensors = {
        key.removeprefix(f"c{number}."): value for key, value in tensors.items() if key.startswith(f"c{number}.")
    }
    rows, length, size = case["B"], case["L"], case["block_size"]
    row_blocks = blocks_of(length, size or length)
    per_row = int(row_blocks[-1]) + 1
    blocks = torch.cat([row_blocks + row * per_row for row in range(rows)])
    sampler = PositionDependent(size, case["half_life_ratio"], case["eps"])
    hidden, level = sampler.select(blocks, tensors["u_level"], tensors["u_gumbel"])
    hidden = hidden.view(rows, length) & tensors["loss_mask"].bool()
    assert torch.equal(hidden, tensors["masked"].bool())
    torch.testing.assert_close(level.view(rows, length), tensors["p_mask"], rtol=0, atol=1e-7)
    assert torch.equal(torch.where(hidden, case["mask_id"], tensors["ids"]), tensors["noisy"])


@pytest.mark.golden
@pytest.mark.parametrize("ratio", ["1000000000.0", "0.25", "0.1", "0.05"])
def test_recorded_position_statistics(ratio: str, golden_dir: Path) -> None:
    """Mean masking probability of all 64 positions over 40k blocks, ours against the published code's."""
    recorded = json.loads((golden_dir / "text/edlm_masking.json").read_text())["position_stats_block64"][ratio]
    hits, _ = frequencies(float(ratio))
    torch.testing.assert_close(hits / 40_000, torch.tensor(recorded["mean_mask_prob"]), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"block_size": 0}, "block_size is 0, but a block holds at least one token"),
        ({"block_size": 8, "half_life_ratio": 0.0}, "half_life_ratio is 0.0, but masking weights double"),
        ({"block_size": 8, "min_level": -1.0}, "min_level is -1.0, but a noise level lies in"),
    ],
)
def test_bad_settings_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PositionDependent(**values)


def test_blocks_longer_than_the_nominal_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="a block has 9 tokens and block_size is 8"):
        PositionDependent(8)(torch.ones(9, dtype=torch.bool), torch.zeros(9, dtype=torch.int64), torch.Generator())
