"""The sampler: greedy, drawn, banned; streams that belong to rows; Gumbel noise and guidance."""

import math

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler, guide, gumbel_noise, row_generators, row_seed
from ar_core.sampling.sampler import draw


def logits_of(rows: int, vocab: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 2


def test_greedy_is_the_argmax_with_plain_softmax_confidence():
    logits = logits_of(5, 33)
    tokens, confidence = Sampler(top_k=1, top_p=0.1).pick(logits)
    assert torch.equal(tokens, logits.argmax(-1))
    assert torch.allclose(confidence, logits.softmax(-1).amax(-1))
    assert torch.equal(Sampler().choose(logits), tokens)


def test_greedy_looks_at_logits_not_at_rounded_probabilities():
    logits = torch.tensor([[20.0, 20.0 + 2e-6, *[19.0] * 40]])
    assert logits[0, 0] != logits[0, 1]
    assert Sampler().pick(logits)[0].tolist() == [1]


def test_confidence_of_half_logits_is_float32():
    logits = logits_of(3, 33)
    _, confidence = Sampler().pick(logits.bfloat16())
    assert confidence.dtype == torch.float32
    assert Sampler().pick(logits.double())[1].dtype == torch.float64


def test_banned_ids_are_never_chosen_and_not_in_the_confidence():
    logits = torch.tensor([[9.0, 1.0, 0.0, -1.0]])
    sampler = Sampler(banned_ids=(0, 2))
    tokens, confidence = sampler.pick(logits)
    assert tokens.tolist() == [1]
    assert confidence.item() == pytest.approx(1 / (1 + math.exp(-2)))
    assert sampler.choose(logits).tolist() == [1]
    drawn = Sampler(temperature=5.0, banned_ids=(0, 2))
    generators = row_generators(0, 1) * 400
    assert set(drawn.choose(logits.expand(400, 4), generators).tolist()) == {1, 3}
    assert logits[0, 0] == 9.0


@pytest.mark.parametrize("banned", [33, -1])
def test_banned_ids_that_the_model_has_not_are_refused(banned: int):
    sampler = Sampler(banned_ids=(2, banned))
    for act in (sampler.pick, sampler.choose, sampler.filtered):
        with pytest.raises(
            ConfigError, match=f"ids 2, {banned} are not to be generated, and the model has ids 0 to 32"
        ):
            act(logits_of(1, 33))


def test_raw_confidence_is_of_the_plain_softmax():
    logits = logits_of(6, 33)
    sampler = Sampler(0.5, top_k=4, banned_ids=(7,))
    tokens, confidence = sampler.pick(logits, row_generators(0, 6), raw_confidence=True)
    same, drawn = sampler.pick(logits, row_generators(0, 6))
    assert torch.equal(tokens, same)
    logits[:, 7] = -math.inf
    torch.testing.assert_close(confidence, logits.softmax(-1).gather(1, tokens[:, None])[:, 0])
    assert (drawn - confidence).abs().min() > 1e-3
    greedy, sure = Sampler(banned_ids=(7,)).pick(logits, raw_confidence=True)
    assert torch.equal(greedy, logits.argmax(-1))
    torch.testing.assert_close(sure, logits.softmax(-1).amax(-1))


@pytest.mark.parametrize("sampler", [Sampler(temperature=0.7), Sampler(1.3, top_k=9, top_p=0.8, min_p=0.02)])
def test_draws_follow_the_filtered_distribution(sampler):
    """20,000 draws: chi-square below its 0.999 quantile; nothing outside the support."""
    logits = logits_of(1, 23, seed=8)
    n = 20_000
    expected = sampler.filtered(logits).softmax(-1)[0].double()
    tokens, confidence = sampler.pick(logits.expand(n, 23), row_generators(3, 1) * n)
    assert torch.allclose(confidence.double(), expected[tokens], atol=1e-6)
    counts = torch.bincount(tokens, minlength=23).double()
    inside = expected > 0
    assert not counts[~inside].any()
    statistic = ((counts - n * expected)[inside] ** 2 / (n * expected[inside])).sum()
    degrees = int(inside.sum()) - 1
    assert statistic < degrees + 3.1 * math.sqrt(2 * degrees) + 6


def test_a_rows_draws_do_not_depend_on_its_mates():
    logits, sampler = logits_of(4, 50), Sampler(temperature=1.0)
    together = [sampler.choose(logits, g).tolist() for g in [row_generators(7, 4)] for _ in range(6)]
    for row in range(4):
        alone = row_generators([row_seed(7, row)], 1)
        assert [step[row] for step in together] == [
            sampler.choose(logits[row : row + 1], alone).item() for _ in range(6)
        ]
    assert len({tuple(step) for step in together}) > 1


def test_neighbouring_seeds_share_no_stream():
    seeds = {row_seed(seed, row) for seed in range(50) for row in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_sampling_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Sampler(temperature=1.0).choose(logits_of(2, 9), row_generators(0, 2))
    gumbel_noise((3, 3), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("uniform", "expected"), [(0.0, 1), (1 - 2**-53, 6)])
def test_the_extreme_uniform_numbers_stay_inside_the_support(monkeypatch, uniform, expected):
    probabilities = torch.tensor([[0.0, *[0.1] * 6, 0.0, 0.0]])
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([uniform], dtype=torch.float64))
    assert draw(probabilities / probabilities.sum(), row_generators(0, 1)).tolist() == [expected]


def test_gumbel_argmax_draws_from_the_softmax():
    logits, n = torch.tensor([1.0, 0.0, -1.0, 2.0]), 20_000
    noise = gumbel_noise((n, 4), torch.Generator().manual_seed(2))
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    share = torch.bincount((logits + noise).argmax(-1), minlength=4) / n
    assert torch.allclose(share, logits.softmax(-1), atol=0.012)


def test_guidance_one_is_none_and_published_conventions_convert():
    cond, uncond = logits_of(2, 5), logits_of(2, 5, 1)
    assert guide(cond, uncond, 1) is cond
    assert torch.allclose(guide(cond, uncond, 0), uncond)
    t = 1.5
    assert torch.allclose(guide(cond, uncond, 1 + t), (1 + t) * cond - t * uncond, atol=1e-5)
    per_row = guide(cond, uncond, torch.tensor([[1.0], [3.0]]))
    assert torch.allclose(per_row[0], cond[0], atol=1e-6)
    assert torch.allclose(per_row[1], guide(cond, uncond, 3.0)[1], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature is -1; it must be a number of at least 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": 1e-40}, r"temperature is 1e-40, .* give 0 .greedy., or at least 1e-30"),
        ({"temperature": "1"}, "temperature is '1' .str.; give it a number"),
        ({"top_k": 2.5}, "top_k is 2.5 .float.; give it an integer or null"),
        ({"banned_ids": 3}, "banned_ids is 3 "),
        ({"top_k": 0}, "top_k is 0; it must be at least 1, or None"),
        ({"top_p": 0}, r"top_p is 0; it must lie in \(0, 1\]"),
        ({"min_p": 1.5}, "min_p is 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Sampler(**settings)


def test_the_lowest_temperature_is_sound():
    logits = torch.tensor([[1.0, 1e7, -1e8, 2.0]])
    tokens, confidence = Sampler(temperature=1e-30, top_p=0.9).pick(logits, row_generators(0, 1))
    assert (tokens.tolist(), confidence.tolist()) == ([1], [1.0])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_ids_that_leave_none_are_refused(temperature):
    sampler = Sampler(temperature, banned_ids=[*range(9), 3])
    for act in (sampler.pick, sampler.choose):
        with pytest.raises(ConfigError, match="All of the model's ids, 0 to 8, are not to be generated"):
            act(logits_of(1, 9), row_generators(0, 1))


def test_missing_generators_are_refused():
    with pytest.raises(ConfigError, match="one generator for each of 2 rows, and none were given; pass row_generators"):
        Sampler(temperature=1.0).choose(logits_of(2, 9))
    with pytest.raises(ConfigError, match="3 seeds were given for 2 rows"):
        row_generators([1, 2, 3], 2)
