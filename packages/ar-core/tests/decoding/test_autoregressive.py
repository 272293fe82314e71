"""The autoregressive loop on scripted models: what it feeds, when it stops, what it reports."""

import json

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone, DecodeStats, StopRule, autoregressive
from ar_core.errors import DataError
from ar_core.masks import Mask
from ar_core.sampling import Sampler, row_seed
from torch import Tensor

VOCAB = 40


class Scripted:
    """Says what follows a sequence; sees the sequence only through ids, positions, mask and cache, as a model does.

    The cache stores ids (as one-number keys), so that a wrong window, mask or position changes what is read back.
    """

    vocab_size, context_length = VOCAB, 64
    device, dtype = torch.device("cpu"), torch.float64

    def __init__(self, script) -> None:
        self.script = script
        self.passes: list[tuple[list[int], bool]] = []

    def embed(self, ids: Tensor) -> Tensor:
        return ids[..., None].double()

    def hidden(self, ids, *, embeds=None, positions: Tensor, mask: Mask | None, cache: WindowedKVCache) -> Tensor:
        assert embeds is None
        batch, n = ids.shape
        self.passes.append((list(ids.shape), mask is not None))
        stored = torch.stack([ids.double() + 1, positions.double()], dim=-1)[:, None]
        seen, _ = cache.update(0, stored, stored)
        dense = torch.ones(1, 1, n, seen.shape[2], dtype=torch.bool) if mask is None else mask.dense()
        dense = dense.expand(batch, 1, n, -1)
        out = torch.zeros(batch, n, VOCAB, dtype=torch.float64)
        for b in range(batch):
            for q in range(n):
                visible = seen[b, 0][dense[b, 0, q]].tolist()
                sequence = [int(token) - 1 for token, _ in visible]
                assert [int(p) for _, p in visible] == list(range(len(sequence))), "positions count the visible tokens"
                out[b, q] = torch.as_tensor(self.script(sequence), dtype=torch.float64)
        return out

    def head(self, hidden: Tensor) -> Tensor:
        return hidden

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        return WindowedKVCache(1, batch, 1, 2, capacity, torch.float64)


def count_up(sequence: list[int]) -> Tensor:
    """The token after the last one, and it depends on the whole sequence being right."""
    logits = torch.zeros(VOCAB)
    logits[(sequence[-1] + 1) % VOCAB] = 5.0 + 0.01 * len(sequence)
    return logits


def mixing(sequence: list[int]) -> Tensor:
    """Logits that depend on every token and its place."""
    generator = torch.Generator().manual_seed(sum((i + 1) * (t + 1) for i, t in enumerate(sequence)) % 2**31)
    return torch.randn(VOCAB, generator=generator)


PROMPTS = [[3], [5, 6, 7, 8, 9, 10], [30, 31], [0, 1, 2, 3]]


def run(script, prompts=PROMPTS, sampler=None, stop=None, backbone=None, **settings):
    stop = stop or StopRule(frozenset(), 7)
    return autoregressive(backbone or Scripted(script), prompts, stop=stop, sampler=sampler or Sampler(), **settings)


def test_the_stub_is_a_backbone():
    assert isinstance(Scripted(count_up), Backbone)


def test_every_row_continues_its_own_prompt():
    out = run(count_up)
    assert out.tokens == [[(p[-1] + 1 + i) % VOCAB for i in range(7)] for p in PROMPTS]
    assert out.finish == ["length"] * 4
    assert out.trace is None


@pytest.mark.parametrize("sampler", [Sampler(), Sampler(temperature=1.0, top_k=20)])
def test_batched_equals_single_and_permuting_rows_permutes_outputs(sampler):
    stop = StopRule(frozenset({1, 2, 3, 4}), 15)
    seeds = [row_seed(9, row) for row in range(4)]
    together = run(mixing, sampler=sampler, stop=stop, seed=9)
    assert len(set(map(len, together.tokens))) > 1, "rows should end at different times"
    for row, prompt in enumerate(PROMPTS):
        alone = run(mixing, [prompt], sampler=sampler, stop=stop, seed=[seeds[row]])
        assert alone.tokens == [together.tokens[row]]
        assert alone.finish == [together.finish[row]]
    order = [2, 0, 3, 1]
    permuted = run(mixing, [PROMPTS[i] for i in order], sampler=sampler, stop=stop, seed=[seeds[i] for i in order])
    assert permuted.tokens == [together.tokens[i] for i in order]
    assert permuted.finish == [together.finish[i] for i in order]


def test_another_seed_draws_otherwise_and_the_same_seed_the_same():
    sampler = Sampler(temperature=1.0)
    assert run(mixing, sampler=sampler, seed=1).tokens == run(mixing, sampler=sampler, seed=1).tokens
    assert run(mixing, sampler=sampler, seed=1).tokens != run(mixing, sampler=sampler, seed=2).tokens


@pytest.mark.parametrize("keep_stop", [False, True])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_row_stops_at_its_stop_id_wherever_it_comes(keep_stop, at):
    stop = StopRule(frozenset({20 + 1 + at}), 7, keep_stop=keep_stop)
    out = run(count_up, [[20], [3, 4]], stop=stop)
    assert out.tokens == [list(range(21, 21 + at + keep_stop)), list(range(5, 12))]
    assert out.finish == ["stop_id", "length"]
    assert out.stats.generated == [at + keep_stop, 7]


def test_finished_rows_are_evicted_and_cost_nothing():
    backbone = Scripted(count_up)
    out = run(count_up, [[20], [3, 4], [10]], stop=StopRule(frozenset({23}), 6), backbone=backbone)
    shapes = [shape for shape, _ in backbone.passes]
    assert shapes == [[3, 2], [3, 1], [3, 1], [2, 1], [2, 1], [2, 1]]
    assert out.stats.forwards == {"prefill": 1, "step": 5}
    assert out.stats.row_forwards == {"prefill": 3, "step": 12}
    assert out.stats.generated == [2, 6, 6]
    assert out.stats.tokens_per_forward == 14 / 15
    assert out.stats.accepted == {1: 15}


def test_single_and_equal_rows_run_without_a_mask_after_the_prefill():
    for prompts, masked in (([[3, 4]], False), ([[3, 4], [5, 6]], False), ([[3], [5, 6]], True)):
        backbone = Scripted(count_up)
        run(count_up, prompts, backbone=backbone)
        assert [mask for _, mask in backbone.passes[1:]] == [masked] * 6


def test_one_token_prompts_of_one_length_never_need_a_mask():
    backbone = Scripted(count_up)
    run(count_up, [[3], [9]], backbone=backbone)
    assert not any(mask for _, mask in backbone.passes)


def test_stream_and_trace_tell_the_output():
    sent: dict[int, list[int]] = {0: [], 1: []}
    stop = StopRule(frozenset({8}), 9)
    out = run(count_up, [[4], [20, 21]], stop=stop, on_token=lambda row, new: sent[row].extend(new), trace=True)
    assert [sent[0], sent[1]] == out.tokens
    entries = json.loads(json.dumps(out.trace.to_list()))
    assert entries[0] == {
        "pass": 0,
        "phase": "prefill",
        "row": 0,
        "positions": [0],
        "tokens": [5],
        "confidences": [pytest.approx(torch.softmax(count_up([4]), -1).max().item(), abs=1e-6)],
    }
    assert [e["phase"] for e in entries if e["row"] == 1] == ["prefill"] + ["step"] * 8
    assert [e["positions"] for e in entries if e["row"] == 1] == [[i] for i in range(9)]
    assert [t for e in entries if e["row"] == 1 for t in e["tokens"]] == out.tokens[1]


def test_banned_ids_never_come_out():
    out = run(count_up, [[3]], sampler=Sampler(banned_ids=(5,)))
    assert 5 not in out.tokens[0]


def test_max_new_tokens_of_one_needs_the_prefill_only():
    out = run(count_up, stop=StopRule(frozenset(), 1))
    assert out.stats.nfe == 1
    assert out.tokens == [[4], [11], [32], [4]]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "No prompt was given; give at least one list of token ids."),
        ([[1], []], "Prompt 1 is empty; give at least one token (a beginning-of-sequence id will do)."),
        ([[1, 40]], "Prompt 0 holds the token id 40, and the model has ids 0 to 39; use the tokenizer that belongs"),
        ([[-1]], "Prompt 0 holds the token id -1"),
        (
            [[1] * 60],
            "Prompt 0 has 60 tokens; with 7 new ones it needs 67 positions, and the model's context is 64",
        ),
        ([[1] * 70], "the model's context is 64; ask for fewer new tokens or shorten it."),
    ],
)
def test_prompts_that_cannot_be_continued_are_refused_before_the_model_runs(prompts, message):
    backbone = Scripted(count_up)
    with pytest.raises(DataError) as caught:
        run(count_up, prompts, backbone=backbone)
    assert message in str(caught.value)
    assert not backbone.passes


def test_a_prompt_that_just_fits_runs():
    assert len(run(count_up, [[1] * 57]).tokens[0]) == 7


def test_rates_count_every_phase():
    stats = DecodeStats(generated=[9, 3])
    passes = (("prefill", 2, 30), ("denoise", 2, 8), ("denoise", 1, 4), ("commit", 2, 8), ("fused", 1, 16))
    for phase, rows, width in passes:
        with stats.forward(phase, rows, width):
            pass
    assert stats.widths == {4: 1, 8: 2, 16: 1}
    assert (stats + stats).widths == {4: 2, 8: 4, 16: 2}
    stats.seconds.update({"prefill": 1.0, "denoise": 2.0, "commit": 4.0, "fused": 1.0})
    assert stats.nfe == 5
    assert stats.tokens_per_forward == 12 / 8
    assert stats.tokens_per_second == pytest.approx(12 / 8, rel=1e-2)


def test_one_host_read_per_pass(monkeypatch):
    backbone, reads = Scripted(count_up), []
    sampler = Sampler()
    for name in ("tolist", "item", "cpu", "__bool__", "__int__", "__float__"):
        original = getattr(Tensor, name)

        def counted(tensor, *args, original=original, name=name, **kwargs):
            if tensor.dtype == torch.int64 and tensor.ndim == 1 and tensor.numel() == 1 and not args:
                reads.append(name)
            return original(tensor, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, counted)
    out = run(count_up, [[3]], sampler=sampler, backbone=backbone)
    assert reads == ["tolist"] * out.stats.nfe


def test_statistics_merge_and_serialise():
    first, second = run(count_up).stats, run(count_up, [[1, 2]]).stats
    both = first + second
    assert both.nfe == 14
    assert both.generated == [7] * 5
    assert both.tokens_per_forward == 1.0
    told = json.loads(json.dumps(both.to_dict()))
    assert told["forwards"] == {"prefill": 2, "step": 12}
    assert told["row_forwards"] == {"prefill": 5, "step": 30}
    assert told["accepted"] == {"1": 35}
    assert told["tokens_per_second"] > 0
    assert set(told["seconds"]) == {"prefill", "step"}
    assert DecodeStats().tokens_per_forward == 0
    assert DecodeStats().tokens_per_second == 0
