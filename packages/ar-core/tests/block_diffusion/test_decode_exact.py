"""The cached, batched block decoder against a plain one that recomputes everything, one row at a time.

Numbers in docstrings are those of the oracles in the method's specification. Real arithmetic is float64, where cached and
recomputed passes agree to 1e-10.
"""

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import StopRule, autoregressive
from ar_core.sampling import Sampler

MASK = 96
PROMPT_LENGTHS = (1, 7, 8, 9, 16, 30, 3, 24)


def prompts(seed: int = 0, lengths: Sequence[int] = PROMPT_LENGTHS) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(90) for _ in range(n)] for n in lengths]


def no_stop(n: int = 21) -> StopRule:
    return StopRule(frozenset(), n)


def policy(**settings) -> BlockPolicy:
    return BlockPolicy(**{"block_size": 8, "mask_id": MASK, "sub_block_size": 4, "threshold": 0.3, **settings})


@pytest.mark.parametrize("commit", ["separate", "fused"])
@pytest.mark.parametrize("threshold", [1.0, 0.3, -math.inf])
@pytest.mark.parametrize(("size", "window", "n"), [(8, 4, 21), (6, 2, 13), (5, 5, 11), (1, 1, 7), (4, 1, 6)])
def test_cached_equals_recomputed(tiny, recompute, size: int, window: int, n: int, threshold: float, commit: str):
    """Oracle 8: what every pass fixed, all prompt lengths around a block."""
    backbone = tiny(dtype=torch.float64)
    how = policy(block_size=size, sub_block_size=window, threshold=threshold, commit=commit)
    for prompt in prompts(lengths=(1, size - 1 or 2, size, size + 1, 3 * size, 3 * size + 2)):
        expected, passes = recompute(backbone, prompt, how, n)
        decoded = decode_blocks(backbone, [prompt], how, stop=no_stop(n), trace=True)
        assert decoded.tokens == [expected]
        assert decoded.stats.nfe == len(passes)
        assert decoded.trace is not None
        assert [dict(zip(e["positions"], e["tokens"])) for e in decoded.trace.to_list()] == passes


def test_cached_logits_equal_recomputed_ones(tiny, recompute):
    """Oracle 8: the logits of every pass, not just what they lead to."""
    logits: list[torch.Tensor] = []

    def record(backbone):
        plain = backbone.head
        backbone.head = lambda hidden: logits.append(plain(hidden)) or logits[-1]
        return backbone

    prompt, size, n = prompts()[5], 8, 20
    how = policy(sub_block_size=size, threshold=1.0)
    decoded = decode_blocks(record(tiny(dtype=torch.float64)), [prompt], how, stop=no_stop(n), trace=True)
    cached = [passed for passed in logits if len(passed)]
    logits.clear()
    recompute(record(tiny(dtype=torch.float64)), prompt, how, n)
    # The plain decoder has logits of all positions, and begins with a prefill that predicts nothing here.
    whole = [passed[0] for passed in logits][1:]
    assert decoded.trace is not None
    entries = [entry for entry in decoded.trace.to_list() if entry["phase"] != "prefill"]
    assert len(cached) == len(whole) == len(entries) == n

    unknown = list(range(len(prompt), len(prompt) + n))
    for few, many, entry in zip(cached, whole, entries):
        targets = [i for i in unknown if i // size == unknown[0] // size]
        if entry["phase"] == "commit":
            targets = targets[:1]
        # Shifted: position i is predicted by the logits at i - 1.
        expected = many[[i - 1 for i in targets]]
        assert few.shape == expected.shape
        assert (few - expected)[:, :MASK].abs().max() < 1e-10
        unknown = [i for i in unknown if i - len(prompt) not in entry["positions"]]


@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.5])
def test_block_size_one_is_autoregression(tiny, temperature: float):
    """Also at a positive temperature, from the same streams, and also with stops; one pass per token after prefill."""
    backbone, sampler = tiny(), Sampler(temperature=temperature, top_p=0.9, banned_ids=(MASK,))
    stop = StopRule(frozenset(range(0, 90, 17)), 25)
    plain = autoregressive(backbone, prompts(), stop=stop, sampler=sampler, seed=5)
    blocks = decode_blocks(
        backbone, prompts(), policy(block_size=1, sub_block_size=1), stop=stop, sampler=sampler, seed=5
    )
    assert len({len(tokens) for tokens in plain.tokens}) > 2
    assert blocks.tokens == plain.tokens
    assert blocks.finish == plain.finish
    assert blocks.stats.nfe == plain.stats.nfe
    assert sum(blocks.stats.row_forwards.values()) == sum(plain.stats.row_forwards.values())


BATCHED = [
    {},
    {"threshold": 1.0},
    {"threshold": -math.inf, "sub_block_size": 8},
    {"sub_block_cache": True},
    {"sub_block_cache": True, "sub_block_size": 2, "threshold": 0.6},
    {"commit": "fused"},
    {"commit": "fused", "sub_block_cache": True},
    {"block_size": 6, "sub_block_size": 3, "sub_block_cache": True, "commit": "fused"},
    {"steps": 3, "threshold": 1.0},
    {"grid": "prompt"},
    {"grid": "prompt", "context": "bidirectional", "shift": False, "first_token": "denoise"},
    {"context": "causal", "shift": False, "first_token": "denoise"},
    {"context": "causal", "shift": False, "first_token": "commit"},
    {"context": "whole", "first_token": "denoise"},
    {"context": "whole", "shift": False, "first_token": "denoise", "grid": "prompt", "steps": 2},
    {"whole_blocks": True},
    {"whole_last_block": True, "commit": "fused"},
    {"whole_last_block": True, "shift": False, "first_token": "denoise", "steps": 3, "sub_block_size": 8},
]


@pytest.mark.parametrize(
    ("settings", "temperature"),
    [*((settings, 0.0) for settings in BATCHED), *((BATCHED[i], 1.0) for i in (0, 4, 6, 10))],
    ids=str,
)
def test_a_batch_gives_each_row_what_it_gets_alone(tiny, settings: dict, temperature: float):
    """Oracles 12 and 13, sub-block cache off and on: ragged rows, permuted rows, rows that wait for a place.

    With stops, so that rows leave and enter at different times; at a positive temperature each row keeps its stream.
    """
    backbone, how = tiny(dtype=torch.float64), policy(**settings)
    sampler = Sampler(temperature=temperature)
    rows = prompts()
    seeds = list(range(40, 40 + len(rows)))
    stop = StopRule(frozenset(range(0, 90, 6)), 21, keep_stop=True)

    alone = [
        decode_blocks(backbone, [row], how, stop=stop, sampler=sampler, seed=[seed]) for row, seed in zip(rows, seeds)
    ]
    expected = [one.tokens[0] for one in alone]
    assert len({len(tokens) for tokens in expected}) > 2, expected
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    for chosen, batch_size in ((range(8), None), (order, 3)):
        together = decode_blocks(
            backbone,
            [rows[i] for i in chosen],
            how,
            stop=stop,
            sampler=sampler,
            seed=[seeds[i] for i in chosen],
            batch_size=batch_size,
        )
        assert together.tokens == [expected[i] for i in chosen]
        assert together.finish == [alone[i].finish[0] for i in chosen]
        assert together.stats.generated == [len(expected[i]) for i in chosen]
        # A row costs what it costs alone, phase by phase.
        assert together.stats.row_forwards == sum((one.stats.row_forwards for one in alone), Counter())


def test_one_layer_makes_the_sub_block_cache_exact(tiny):
    """Keys and values of a first layer depend on their own token only, and all tokens outside the current sub-block are
    what they were in the block's last whole pass: so with one layer nothing is stale, and outputs are equal.

    With two layers they are not, which the test must notice.
    """
    for layers in (1, 2):
        backbone = tiny(dtype=torch.float64)
        backbone.layers, backbone.blocks = layers, backbone.blocks[:layers]
        off = decode_blocks(backbone, prompts(), policy(sub_block_size=4), stop=no_stop(60))
        on = decode_blocks(backbone, prompts(), policy(sub_block_size=4, sub_block_cache=True), stop=no_stop(60))
        assert (on.tokens == off.tokens) == (layers == 1)


def test_sub_block_passes_write_and_see_the_right_slots(scripted):
    """A whole pass while the sub-block's first token is unknown, then passes of S tokens in place, seeing the whole block.

    Confidence falls from left to right, so that positions are fixed in order.
    """
    backbone = scripted(lambda position: (position % 7, 0.9 - position / 100), vocab=97)
    how = policy(threshold=1.0, sub_block_cache=True)
    decode_blocks(backbone, prompts(lengths=(9,)), how, stop=no_stop(15))
    assert [(call["starts"], call["length"], call["visibles"]) for call in backbone.calls] == [
        ([0], 8, [8]),  # prefill
        ([8], 8, [16]),  # the prompt's tail makes the first token known, but nothing of the block is stored yet
        *[([8], 4, [16])] * 2,
        ([8], 8, [16]),  # first token of the second sub-block unknown
        *[([12], 4, [16])] * 3,
        ([8], 8, [16]),  # commit
        ([16], 8, [24]),
        *[([16], 4, [24])] * 2,
        ([16], 8, [24]),
        *[([20], 4, [24])] * 3,
    ]


def test_only_prefill_and_commit_lengthen_the_cache(tiny):
    """Denoise passes are read-only as far as the committed length goes, whole or of a sub-block."""
    backbone, lengths = tiny(), []
    caches = []
    make = backbone.new_cache
    backbone.new_cache = lambda batch, capacity: caches.append(make(batch, capacity)) or caches[-1]
    hidden = backbone.hidden
    backbone.hidden = lambda *a, **k: lengths.append(caches[0].lengths) or hidden(*a, **k)
    for cache in (False, True):
        for commit in ("separate", "fused"):
            lengths.clear()
            caches.clear()
            how = policy(threshold=1.0, sub_block_cache=cache, commit=commit)
            decode_blocks(backbone, prompts(lengths=(9,)), how, stop=no_stop(23))
            counts = Counter(length for (length,) in lengths)
            # 7 passes fill the first block; the next ones begin with the commit's token, and have 7 (D) masks left.
            assert counts == {0: 1, 8: 8, 16: 8, 24: 7}


@pytest.mark.parametrize("settings", [{}, {"sub_block_cache": True}, {"commit": "fused"}], ids=str)
def test_no_pass_reads_a_slot_that_was_not_written(tiny, settings: dict):
    """One row over a cache full of NaN gives what it gives over zeros: a NaN that is read, even behind a mask, spreads."""
    expected = decode_blocks(tiny(), prompts(lengths=(19,)), policy(**settings), stop=no_stop(30)).tokens
    backbone = tiny()
    make = backbone.new_cache

    def poisoned(batch: int, capacity: int):
        cache = make(batch, capacity)
        for stored in (*cache._keys, *cache._values):
            stored.fill_(math.nan)
        return cache

    backbone.new_cache = poisoned
    assert decode_blocks(backbone, prompts(lengths=(19,)), policy(**settings), stop=no_stop(30)).tokens == expected


def test_rows_at_different_passes_share_forwards_where_widths_agree(tiny):
    """Denoise and commit passes are one width: a batch needs as many steps as its longest row, and a prefill."""
    backbone = tiny()
    decoded = decode_blocks(backbone, prompts(), policy(threshold=1.0), stop=no_stop(40))
    alone = [decode_blocks(backbone, [row], policy(threshold=1.0), stop=no_stop(40)).stats.nfe for row in prompts()]
    assert decoded.stats.forwards["prefill"] == 1
    assert decoded.stats.nfe - 1 <= max(alone)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17])
def test_every_prompt_token_reaches_the_first_decision(tiny, length: int):
    """Oracle 14: prompts of P = 1, D-1, D, D+1, kD, kD+1 tokens that differ in one token give other logits."""
    for changed in range(length):
        first: list[torch.Tensor] = []
        for shift in (0, 1):
            backbone = tiny(dtype=torch.float64)
            plain, seen = backbone.head, []
            backbone.head = lambda hidden, plain=plain, seen=seen: seen.append(plain(hidden)) or seen[-1]
            (prompt,) = prompts(lengths=(length,))
            prompt[changed] += shift
            decode_blocks(backbone, [prompt], policy(), stop=no_stop(3))
            first.append(seen[0])
        assert (first[0] - first[1]).abs().amax() > 1e-3


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 21, 40])
@pytest.mark.parametrize("commit", ["separate", "fused"])
def test_length_is_exact(tiny, n: int, commit: str):
    """Oracle 20: N new tokens for any N and any P, in a batch."""
    for threshold, cache in itertools.product((1.0, 0.3, -math.inf), (False, True)):
        how = policy(threshold=threshold, commit=commit, sub_block_cache=cache)
        decoded = decode_blocks(tiny(), prompts(), how, stop=no_stop(n))
        assert [len(tokens) for tokens in decoded.tokens] == [n] * 8
        assert decoded.finish == ["length"] * 8


def test_fused_equals_separate_where_nothing_is_accepted_early(tiny):
    """At tau >= 1 the fused pass accepts the commit's own token and no other: same tokens, same number of passes."""
    backbone = tiny(dtype=torch.float64)
    separate = decode_blocks(backbone, prompts(), policy(threshold=1.0), stop=no_stop(40))
    fused = decode_blocks(backbone, prompts(), policy(threshold=1.0, commit="fused"), stop=no_stop(40))
    assert fused.tokens == separate.tokens
    assert sum(fused.stats.row_forwards.values()) == sum(separate.stats.row_forwards.values())
    assert fused.stats.row_forwards["fused"] > 0
    early = decode_blocks(backbone, prompts(), policy(threshold=0.2, commit="fused"), stop=no_stop(40))
    late = decode_blocks(backbone, prompts(), policy(threshold=0.2), stop=no_stop(40))
    assert sum(early.stats.row_forwards.values()) < sum(late.stats.row_forwards.values())


def test_runs_are_reproducible_and_leave_the_global_generator_alone(tiny):
    """Same seed, same tokens; another seed, others; torch's own stream is not touched."""
    before = torch.get_rng_state()
    sampler = Sampler(temperature=1.0)
    first, again, other = (
        decode_blocks(tiny(), prompts(), policy(), stop=no_stop(), sampler=sampler, seed=seed).tokens
        for seed in (1, 1, 2)
    )
    assert first == again
    assert all(a != b for a, b in zip(first, other))
    assert torch.equal(before, torch.get_rng_state())
