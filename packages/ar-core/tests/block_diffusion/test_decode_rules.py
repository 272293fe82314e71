"""Counting, stopping, acceptance and refusals of the block decoder, on a backbone whose predictions are written down.

Numbers in docstrings are those of the oracles in the method's specification. `script(i)` is the token at position i and the
probability it is given; tokens are positions modulo 40, so that an output shows where it came from.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy, decode_blocks, reveal
from ar_core.decoding import StopRule
from ar_core.errors import ConfigError, DataError, NumericsError
from ar_core.sampling import Sampler

MASK, STOP = 49, 45
Script = Callable[[int], tuple[int, float]]


def policy(**settings) -> BlockPolicy:
    return BlockPolicy(**{"block_size": 8, "mask_id": MASK, "sub_block_size": 4, **settings})


def counting(position: int) -> tuple[int, float]:
    return position % 40, 0.5


def expected_tokens(prompt_length: int, n: int) -> list[int]:
    return [position % 40 for position in range(prompt_length, prompt_length + n)]


def test_reveal():
    confidences = [0.2, 0.9, 0.5, 0.9, 0.95]
    assert reveal(confidences, threshold=0.9) == [1, 3, 4]
    assert reveal(confidences, threshold=0.9, strict=True) == [4]
    assert reveal(confidences, threshold=0.99) == [4]
    assert reveal(confidences, threshold=0.99, floor=2) == [1, 4]
    assert reveal(confidences, threshold=-math.inf, strict=True) == [0, 1, 2, 3, 4]
    assert reveal([0.4], threshold=1.0, floor=3) == [0]
    assert reveal([1.0, 1.0, 1.0], threshold=1.0) == [0]
    assert reveal([1.0, 1.0, 1.0], threshold=1.0, strict=True) == [0]


@pytest.mark.parametrize("prompt_length", [1, 5, 7, 8, 9, 16, 19])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 11, 24])
@pytest.mark.parametrize("cache", [False, True])
def test_one_token_per_pass(scripted, prompt_length: int, n: int, cache: bool):
    """Oracle 9: tau >= 1, also with probabilities that round to 1: NFE = prefill + masked positions + committed blocks."""
    backbone = scripted(lambda i: (i % 40, 1.0 - 1e-12))
    how = policy(threshold=1.0, sub_block_cache=cache)
    decoded = decode_blocks(backbone, [[0] * prompt_length], how, stop=StopRule(frozenset(), n), trace=True)
    end = prompt_length + n
    prefill = int(prompt_length >= 8)
    given = sum(1 for i in range(prompt_length, end) if i % 8 == 0 and i >= 8)
    committed = given - (prompt_length % 8 == 0)
    assert decoded.tokens == [expected_tokens(prompt_length, n)]
    assert dict(decoded.stats.forwards) == {
        phase: count for phase, count in (("prefill", prefill), ("denoise", n - given), ("commit", committed)) if count
    }
    assert decoded.stats.nfe == len(backbone.calls) == prefill + (n - given) + committed
    assert all(len(entry["positions"]) == 1 for entry in decoded.trace.to_list() if entry["phase"] == "denoise")
    assert decoded.stats.tokens_per_forward == n / decoded.stats.nfe


@pytest.mark.parametrize("size", [2, 5, 8])
def test_everything_at_once(scripted, size: int):
    """Oracle 10: tau = -inf and S = D: one denoise and one commit per block (none for the last); fused, one pass each."""
    stop = StopRule(frozenset(), 4 * size)
    for commit, forwards in (("separate", 1 + 4 + 3), ("fused", 1 + 4)):
        how = policy(block_size=size, sub_block_size=None, threshold=-math.inf, commit=commit)
        decoded = decode_blocks(scripted(counting), [[0] * size], how, stop=stop)
        assert decoded.tokens == [expected_tokens(size, 4 * size)]
        assert decoded.stats.nfe == forwards


@pytest.mark.parametrize("window", [8, 2])
def test_passes_fall_with_the_threshold(scripted, window: int):
    """Oracle 11: on frozen logits and one block, a lower threshold never needs more passes; both ends are reached."""
    rng = random.Random(3)
    for _ in range(20):
        confidences = [rng.uniform(0.05, 0.99) for _ in range(9)]
        counts = []
        for threshold in (1.0, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0):
            backbone = scripted(lambda i, known=confidences: (i % 40, known[i]))
            how = policy(threshold=threshold, sub_block_size=window)
            counts.append(decode_blocks(backbone, [[0]], how, stop=StopRule(frozenset(), 7)).stats.nfe)
        assert counts == sorted(counts, reverse=True)
        assert counts[0] == 7
        assert counts[-1] == 8 // window


@pytest.mark.parametrize(("confidence", "passes"), [("raw", 7), ("drawn", 1)])
def test_confidence_is_taken_at_the_temperature_or_at_one(scripted, confidence: str, passes: int):
    """A cold draw makes every token nearly certain; its plain probability stays 0.6, below the threshold."""
    how = policy(threshold=0.9, sub_block_size=8, confidence=confidence)
    decoded = decode_blocks(
        scripted(lambda i: (i % 40, 0.6)), [[0]], how, stop=StopRule(frozenset(), 7), sampler=Sampler(0.1), trace=True
    )
    assert decoded.stats.nfe == passes
    assert decoded.tokens == [expected_tokens(1, 7)]
    said = [value for entry in decoded.trace.to_list() for value in entry["confidences"]]
    assert said == pytest.approx([0.6 / (1 - 0.4 / 49) if confidence == "raw" else 1.0] * 7, abs=1e-5)


def test_scheduling_window(scripted):
    """Only positions of the leftmost sub-block that has a mask are accepted, however confident the others are."""
    backbone = scripted(lambda i: (i % 40, 0.3 if i < 4 else 0.99))
    how = policy(threshold=0.9)
    decoded = decode_blocks(backbone, [[0]], how, stop=StopRule(frozenset(), 7), trace=True)
    assert [entry["positions"] for entry in decoded.trace.to_list()] == [[0], [1], [2], [3, 4, 5, 6]]


def test_schedule_of_steps(scripted):
    """`steps`: D // steps positions a pass, the remainder in the first passes; with a threshold, at least that many."""
    for steps, sizes in ((3, [3, 3, 2]), (8, [1] * 8), (11, [1] * 8), (1, [8]), (5, [2, 2, 2, 1, 1])):
        how = policy(sub_block_size=None, steps=steps, threshold=1.0, shift=False, first_token="denoise", grid="prompt")
        backbone = scripted(counting, shift=False)
        decoded = decode_blocks(backbone, [[0] * 3], how, stop=StopRule(frozenset(), 8), trace=True)
        assert [len(e["positions"]) for e in decoded.trace.to_list() if e["phase"] == "denoise"] == sizes
        assert decoded.tokens == [expected_tokens(3, 8)]


def stop_after(position: int, script: Script = counting) -> Script:
    return lambda i: (STOP, script(i)[1]) if i == position else script(i)


@pytest.mark.parametrize("threshold", [1.0, 0.5, -math.inf])
@pytest.mark.parametrize("commit", ["separate", "fused"])
@pytest.mark.parametrize("cache", [False, True])
def test_stop_at_every_position(scripted, threshold: float, commit: str, cache: bool):
    """Oracle 15: wherever the stop falls in a block, its first token included, a row ends exactly there, alone and in a
    batch; no pass follows, so the finished block is not committed."""
    how = policy(threshold=threshold, commit=commit, sub_block_cache=cache)
    lengths = (1, 7, 8, 9, 15, 16)
    for at in range(1, 19):
        rng = random.Random(at)
        confidence = [rng.uniform(0.2, 0.9) for _ in range(64)]
        script = stop_after(at, lambda i, known=confidence: (i % 40, known[i]))
        rows = [[0] * length for length in lengths if length <= at]
        for keep in (False, True):
            stop = StopRule(frozenset({STOP, 46}), 30, keep_stop=keep)
            streamed: dict[int, list[int]] = {row: [] for row in range(len(rows))}
            decoded = decode_blocks(
                scripted(script), rows, how, stop=stop, on_token=lambda row, new, to=streamed: to[row].extend(new)
            )
            for row, prompt in enumerate(rows):
                before = expected_tokens(len(prompt), at - len(prompt))
                assert decoded.tokens[row] == before + [STOP] * keep
                assert decoded.finish[row] == "stop_id"
                assert streamed[row] == decoded.tokens[row]
                if not keep:
                    continue
                alone = scripted(script)
                one = decode_blocks(alone, [prompt], how, stop=stop, trace=True)
                assert one.tokens == [decoded.tokens[row]]
                last = [entry for entry in one.trace.to_list() if entry["positions"]][-1]
                assert last["pass"] == one.stats.nfe - 1 == len(alone.calls) - 1


def test_stop_counts_only_when_nothing_before_it_is_masked(scripted):
    """A stop that is decoded early waits for the tokens before it, and any of them may stop the row sooner."""
    confidences = {1: 0.3, 2: 0.4, 3: 0.95}

    def script(i: int) -> tuple[int, float]:
        return {2: 46, 3: STOP}.get(i, i % 40), confidences.get(i, 0.1)

    decoded = decode_blocks(
        scripted(script), [[0]], policy(threshold=0.9), stop=StopRule(frozenset({STOP, 46}), 20), trace=True
    )
    assert [entry["positions"] for entry in decoded.trace.to_list()] == [[2], [1], [0]]
    assert decoded.tokens == [[1]]


def test_stop_strings(scripted):
    """A stop string that spans a block's edge ends the row; nothing of it is streamed."""
    stop = StopRule(frozenset(), 30, stop_strings=("7.8.9",), decode=lambda ids: ".".join(map(str, ids)))
    for commit in ("separate", "fused"):
        streamed: list[int] = []
        decoded = decode_blocks(
            scripted(counting),
            [[0] * 3],
            policy(commit=commit, threshold=0.5),
            stop=stop,
            on_token=lambda row, new, to=streamed: to.extend(new),
        )
        assert decoded.finish == ["stop_string"]
        assert decoded.tokens[0][:4] == streamed[:4] == [3, 4, 5, 6]
        assert streamed == decoded.tokens[0]


def test_streaming_is_in_order_and_complete(scripted):
    """Positions fixed out of order reach the callback in order, as soon as no mask precedes them."""
    rng = random.Random(0)
    confidence = [rng.random() for _ in range(100)]
    calls: list[tuple[int, list[int]]] = []
    rows = [[0] * length for length in (1, 8, 13)]
    decoded = decode_blocks(
        scripted(lambda i: (i % 40, confidence[i])),
        rows,
        policy(threshold=0.6),
        stop=StopRule(frozenset(), 33),
        on_token=lambda row, new: calls.append((row, new)),
    )
    assert all(new for _, new in calls)
    assert len(calls) > 30
    for row in range(3):
        assert [token for r, new in calls if r == row for token in new] == decoded.tokens[row]


@pytest.mark.parametrize("commit", ["separate", "fused"])
def test_trace_explains_every_token(scripted, commit: str):
    """Each generated position is fixed once; a denoise pass fixes what reaches tau, or the single best one."""
    rng = random.Random(1)
    confidence = [rng.uniform(0.1, 0.95) for _ in range(100)]
    rows = [[0] * length for length in (1, 8, 13)]
    decoded = decode_blocks(
        scripted(lambda i: (i % 40, confidence[i])),
        rows,
        policy(threshold=0.7, commit=commit),
        stop=StopRule(frozenset(), 30),
        trace=True,
    )
    entries = json.loads(json.dumps(decoded.trace.to_list()))
    for row, prompt in enumerate(rows):
        mine = [entry for entry in entries if entry["row"] == row]
        assert sorted(p for entry in mine for p in entry["positions"]) == list(range(30))
        for entry in mine:
            for position, token, value in zip(entry["positions"], entry["tokens"], entry["confidences"], strict=True):
                assert token == (len(prompt) + position) % 40
                said = confidence[len(prompt) + position]
                # The share of M goes to the others.
                assert value == pytest.approx(said / (1 - (1 - said) / 49), abs=1e-5)
            if entry["phase"] == "denoise" and len(entry["positions"]) > 1:
                assert sorted(entry["confidences"])[1] >= 0.7
            if entry["phase"] in ("prefill", "commit"):
                assert len(entry["positions"]) <= 1
    assert max(entry["pass"] for entry in entries) == decoded.stats.nfe - 1
    assert sum(n * times for n, times in decoded.stats.accepted.items()) == 90
    assert sum(decoded.stats.accepted.values()) == sum(decoded.stats.row_forwards.values())


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("commit", ["separate", "fused"])
def test_the_mask_token_is_never_generated(scripted, temperature: float, commit: str):
    """Oracle 16: a head that always predicts M terminates; banned ids stay out as well."""
    backbone = scripted(lambda i: (MASK, 1 - 1e-6))
    sampler = Sampler(temperature=temperature, banned_ids=(0, 1, 2))
    decoded = decode_blocks(
        backbone, [[0], [0] * 8, [MASK] * 11], policy(commit=commit), stop=StopRule(frozenset(), 20), sampler=sampler
    )
    for tokens in decoded.tokens:
        assert len(tokens) == 20
        assert not {MASK, 0, 1, 2} & set(tokens)


def test_a_prompt_may_hold_the_mask_token(scripted):
    """Prompt tokens are never overwritten, whatever their id."""
    decoded = decode_blocks(
        scripted(counting), [[5, MASK, MASK, 6, MASK]], policy(threshold=0.4), stop=StopRule(frozenset(), 3), trace=True
    )
    assert decoded.tokens == [[5, 6, 7]]
    assert decoded.stats.nfe == 1


def test_positions_behind_the_end_are_shown_as_masks_and_not_predicted(scripted):
    """The last block is computed whole."""
    backbone = scripted(counting)
    decode_blocks(backbone, [[0] * 3], policy(sub_block_size=None), stop=StopRule(frozenset(), 2))
    assert [call["ids"].tolist() for call in backbone.calls] == [
        [[0, 0, 0, MASK, MASK, MASK, MASK, MASK]],
        [[0, 0, 0, 3, MASK, MASK, MASK, MASK]],
    ]
    assert backbone.predicted == [[3, 4], [4]]


@pytest.mark.parametrize("first_token", ["denoise", "commit"])
@pytest.mark.parametrize("n", [1, 3, 8, 12])
def test_whole_last_block(scripted, first_token: str, n: int):
    """The last block is predicted to its end, N tokens are output, and decoding ends as soon as these are known."""
    surer_behind = {position: (position % 40, 0.1 + position / 100) for position in range(64)}
    shift = first_token == "commit"
    backbone = scripted(surer_behind.__getitem__, shift=shift)
    how = policy(whole_last_block=True, threshold=1.0, sub_block_size=None, first_token=first_token, shift=shift)
    decoded = decode_blocks(backbone, [[0] * 5], how, stop=StopRule(frozenset(), n), trace=True)
    assert decoded.tokens == [expected_tokens(5, n)]
    assert decoded.finish == ["length"]
    last = (5 + n - 1) // 8 * 8
    predicted = {position for positions in backbone.predicted for position in positions}
    if last + shift < 5 + n:
        # Those behind N are surer and hence revealed first.
        assert predicted == set(range(5, last + 8))
    with pytest.raises(ConfigError, match="set one of them"):
        policy(whole_last_block=True, whole_blocks=True)


def test_every_pass_of_a_row_has_an_entry(scripted):
    """The trace also holds passes that fix nothing, once each."""
    decoded = decode_blocks(
        scripted(counting), [[0] * 9, [0] * 3], policy(threshold=0.4), stop=StopRule(frozenset(), 20), trace=True
    )
    assert decoded.trace is not None
    entries = decoded.trace.to_list()
    assert Counter(entry["phase"] for entry in entries) == decoded.stats.row_forwards
    assert len({(entry["pass"], entry["row"]) for entry in entries}) == len(entries)
    assert any(not entry["positions"] for entry in entries)


@pytest.mark.parametrize(
    ("prompt_length", "n", "generated"),
    [(3, 20, 14), (3, 7, 0), (8, 16, 17), (8, 7, 1), (9, 16, 16), (16, 24, 25), (15, 8, 2)],
)
def test_whole_blocks(scripted, prompt_length: int, n: int, generated: int):
    """Parity length: N // D blocks and the first token of the block behind them."""
    how = policy(whole_blocks=True)
    decoded = decode_blocks(scripted(counting), [[0] * prompt_length], how, stop=StopRule(frozenset(), n))
    assert decoded.tokens == [expected_tokens(prompt_length, generated)]
    assert decoded.finish == ["length"]
    assert decoded.stats.generated == [generated]


def test_rows_wait_for_a_place(scripted):
    """With `batch_size` no forward has more rows, every prompt is served, and places are taken as they become free."""
    backbone = scripted(stop_after(21))
    rows = [[0] * length for length in (1, 20, 3, 19, 16, 2, 8)]
    decoded = decode_blocks(backbone, rows, policy(), stop=StopRule(frozenset({STOP}), 40), batch_size=2)
    assert decoded.tokens == [expected_tokens(len(row), 21 - len(row)) for row in rows]
    assert {call["ids"].shape[0] for call in backbone.calls} == {1, 2}


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_passes_say_which_prompts_they_hold(scripted, batch_size: int | None):
    """A model whose inputs depend on the prompt finds it in the cache, whatever rows have left and come."""
    backbone = scripted(stop_after(21))
    rows = [[number] * length for number, length in enumerate((1, 20, 3, 19, 16, 2, 8))]
    seen = []

    def hidden(ids, *, positions, cache, **rest):
        seen.extend(
            (int(row[0]), prompt) for row, first, prompt in zip(ids, cache.starts, cache.pass_prompts) if not first
        )
        return plain(ids, positions=positions, cache=cache, **rest)

    plain, backbone.hidden = backbone.hidden, hidden
    decode_blocks(backbone, rows, policy(), stop=StopRule(frozenset({STOP}), 40), batch_size=batch_size)
    assert {number for number, _ in seen} == set(range(7))
    assert all(number == prompt for number, prompt in seen)


def test_fused_falls_back_to_a_plain_commit_where_it_has_nothing_to_predict(scripted):
    """One token left, S = 1, or D = 1: a pass of 2D tokens would be D wasted."""
    for settings, n in (({}, 9), ({"sub_block_size": 1}, 24), ({"block_size": 1, "sub_block_size": 1}, 6)):
        backbone = scripted(counting)
        decode_blocks(backbone, [[0] * 8], policy(commit="fused", **settings), stop=StopRule(frozenset(), n))
        assert {call["length"] for call in backbone.calls[1:]} == {settings.get("block_size", 8)}


def test_one_read_per_pass(scripted, monkeypatch):
    """Tokens and confidences come to the host in one transfer, and nothing else does."""
    reads = []
    plain = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self, *a, **k: reads.append(self.shape) or plain(self, *a, **k))
    for name in ("item", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, name=name: pytest.fail(f"{name} on a tensor waits for the device")
        )
    decoded = decode_blocks(scripted(counting), [[0], [0] * 9], policy(), stop=StopRule(frozenset(), 16))
    assert len(reads) <= decoded.stats.nfe


REFUSED = [
    ({"block_size": 0}, "at least 1 token"),
    ({"sub_block_size": 3}, "does not divide the block size 8"),
    ({"sub_block_size": 0}, "does not divide"),
    ({"threshold": math.nan}, "not a number"),
    ({"steps": 0}, "at least 1 pass"),
    ({"mask_id": -1}, "not negative"),
    ({"grid": "relative"}, "'absolute', 'prompt'"),
    ({"context": "full"}, "'block_causal', 'bidirectional', 'causal'"),
    ({"first_token": "ar"}, "'commit', 'denoise'"),
    ({"commit": "none"}, "'separate', 'fused'"),
    ({"confidence": "margin"}, "'drawn', 'raw'"),
    ({"first_token": "denoise"}, "shift=False"),
    ({"shift": False}, "context='causal' or first_token='denoise'"),
    ({"context": "causal", "commit": "fused"}, "commit='separate'"),
    ({"context": "whole"}, "stores nothing that first_token='commit'"),
    ({"context": "whole", "first_token": "denoise", "commit": "fused"}, "stores nothing"),
]


@pytest.mark.parametrize(
    ("settings", "message"), REFUSED, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_refused_policies(settings: dict, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        policy(**settings)
    assert str(caught.value).count(". ") == 0


def test_refused_input(scripted):
    backbone, stop = scripted(counting), StopRule(frozenset(), 8)
    with pytest.raises(ConfigError, match="mask id is 50, and the model has ids 0 to 49"):
        decode_blocks(backbone, [[0]], policy(mask_id=50), stop=stop)
    with pytest.raises(ConfigError, match="among the stop ids"):
        decode_blocks(backbone, [[0]], policy(), stop=StopRule(frozenset({MASK}), 8))
    with pytest.raises(ConfigError, match="batch_size is 0"):
        decode_blocks(backbone, [[0]], policy(), stop=stop, batch_size=0)
    with pytest.raises(DataError, match="Prompt 1 is empty"):
        decode_blocks(backbone, [[0], []], policy(), stop=stop)
    backbone.context_length = 4100
    with pytest.raises(DataError, match="its last block completed it needs 4104 positions"):
        decode_blocks(backbone, [[0] * 4090], policy(), stop=StopRule(frozenset(), 8))
    assert not backbone.calls
    with pytest.raises(NumericsError, match="not numbers"):
        decode_blocks(scripted(lambda i: (0, math.nan)), [[0]], policy(), stop=stop)
