"""The lossless decoders as the registry hands them out."""

import pytest
from ar_core.config import from_dict
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.registry import decoder, resolve
from ar_core.sampling import Sampler


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ar", {}),
        ("lookup", {}),
        ("lookup", {"draft_length": 3, "fallback": False}),
        ("jacobi", {"window": "block", "init": "random_vocab", "fallback": False}),
        ("recycling", {"fallback": False}),
        ("recycling", {"window": "block", "init": "prompt_sample", "pool": 8}),
        ("multiblock", {"block_length": 4, "spawn_ratio": 0.5, "fallback": False}),
        ("multiblock", {"block_length": 4, "blocks": 3, "pool": 4, "fallback": False}),
        ("jacobi", {"pass_cost": {"tokens": [1, 8], "seconds": [1.0, 1.1]}}),
    ],
)
def test_every_lossless_decoder_gives_the_tokens_of_the_baseline(table_model, prompts, name, settings):
    record = decoder(name)
    options = from_dict(resolve(record.options), settings)
    common = {"stop": StopRule(frozenset({6}), 15), "sampler": Sampler(temperature=0.9), "seed": 4}
    got = resolve(record.decode)(table_model(), prompts, options, **common)
    assert got.tokens == autoregressive(table_model(), prompts, **common).tokens


def test_equal_calls_count_equal_passes(table_model, prompts):
    record = decoder("lookup")
    options = from_dict(resolve(record.options), {})
    common = {"stop": StopRule(frozenset(), 30), "sampler": Sampler()}
    counts = [resolve(record.decode)(table_model(), prompts, options, **common).stats.forwards for _ in range(2)]
    assert counts[0] == counts[1]


def test_options_are_checked_when_they_are_built():
    with pytest.raises(ConfigError, match="draft_length=0"):
        from_dict(resolve(decoder("jacobi").options), {"draft_length": 0})
    with pytest.raises(ConfigError, match="init='carrots', but guesses start as one of carry, prompt_sample"):
        from_dict(resolve(decoder("jacobi").options), {"init": "carrots"})
    with pytest.raises(ConfigError, match="a pool of 0, but it keeps at least 1 entry"):
        from_dict(resolve(decoder("recycling").options), {"pool": 0})
    with pytest.raises(
        ConfigError, match="a pool of -1; give the number of sequences that it keeps, or 0 to recycle nothing"
    ):
        from_dict(resolve(decoder("multiblock").options), {"pool": -1})
    with pytest.raises(ConfigError, match=r"spawn_ratio=1\.5, but a block has at least 1 token"):
        from_dict(resolve(decoder("multiblock").options), {"spawn_ratio": 1.5})
    with pytest.raises(ConfigError, match="positive time for each"):
        from_dict(resolve(decoder("lookup").options), {"pass_cost": {"tokens": [1], "seconds": [0.0]}})
