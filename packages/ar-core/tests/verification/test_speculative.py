"""The loop on a table model: outputs, counters, stops, roll-back, streaming, host reads."""

import math
from functools import partial

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError, DataError, NumericsError
from ar_core.sampling import Sampler
from ar_core.verification import Jacobi, NgramLookup, PassCost, Recycling, speculative

GREEDY = Sampler()
WARM = Sampler(temperature=0.8, top_p=0.9)
FREE = PassCost((1, 64), (1.0, 1.0))


def limit(n: int, *stop_ids: int, **settings) -> StopRule:
    return StopRule(frozenset(stop_ids), n, **settings)


def proposers(scripted, truths, vocab_size=11):
    return {
        "right": scripted(truths, None, 4, vocab_size),
        "wrong": scripted(truths, 0, 3, vocab_size),
        "two right": scripted(truths, 2, 5, vocab_size),
        "none": scripted(truths, None, 0, vocab_size),
        "lookup": NgramLookup(draft_length=5),
        "jacobi": Jacobi(draft_length=5),
    }


@pytest.mark.parametrize("sampler", [GREEDY, WARM, Sampler(temperature=1.3, top_k=4, banned_ids=(0,))])
@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("max_new_tokens", [1, 2, 17])
def test_tokens_equal_autoregressive_with_the_same_seed(
    table_model, scripted, truths, prompts, sampler, fallback, max_new_tokens
):
    expected = autoregressive(table_model(), prompts, stop=limit(max_new_tokens, 6), sampler=sampler, seed=3)
    for name, proposer in proposers(scripted, truths(max_new_tokens)).items():
        got = speculative(
            table_model(), prompts, proposer, stop=limit(max_new_tokens, 6), sampler=sampler, seed=3, fallback=fallback
        )
        assert got.tokens == expected.tokens, name
        assert got.finish == expected.finish, name


def test_a_row_alone_equals_the_row_in_a_batch(table_model, scripted, truths, prompts):
    seeds = [11, 12, 13, 14, 15]
    for sampler in (GREEDY, WARM):
        for name in ("lookup", "jacobi"):

            def make(name=name):
                return proposers(scripted, truths(20))[name]

            together = speculative(table_model(), prompts, make(), stop=limit(20, 6), sampler=sampler, seed=seeds)
            for row, prompt in enumerate(prompts):
                alone = speculative(
                    table_model(), [prompt], make(), stop=limit(20, 6), sampler=sampler, seed=[seeds[row]]
                )
                assert alone.tokens[0] == together.tokens[row]


def test_permuting_rows_permutes_outputs(table_model, prompts):
    order = [4, 2, 0, 3, 1]

    def run(rows, seed):
        return speculative(table_model(), rows, Jacobi(), stop=limit(15, 6), sampler=WARM, seed=seed).tokens

    straight = run(prompts, [1, 2, 3, 4, 5])
    permuted = run([prompts[i] for i in order], [i + 1 for i in order])
    assert permuted == [straight[i] for i in order]


@pytest.mark.parametrize(("max_new_tokens", "length"), [(17, 4), (16, 4), (2, 4), (1, 4), (12, 1)])
def test_right_drafts_fill_every_pass(table_model, scripted, truths, prompts, max_new_tokens, length):
    proposer = scripted(truths(max_new_tokens), None, length, 11)
    got = speculative(table_model(), prompts, proposer, stop=limit(max_new_tokens), sampler=GREEDY, fallback=False)
    passes = math.ceil((max_new_tokens - 1) / (length + 1))
    assert got.stats.forwards.total() == got.stats.nfe == 1 + passes
    assert got.stats.tokens_per_forward == pytest.approx(max_new_tokens / (1 + passes))
    assert got.stats.generated == [max_new_tokens] * len(prompts)


def test_wrong_drafts_cost_passes_of_one_token(table_model, scripted, truths, prompts):
    got = speculative(
        table_model(), prompts, scripted(truths(12), 0, 3, 11), stop=limit(12), sampler=GREEDY, fallback=False
    )
    # The last token has no room for a draft, so that its pass is a plain step.
    assert dict(got.stats.forwards) == {"prefill": 1, "verify": 10, "step": 1}
    assert got.stats.accepted == {1: 12 * len(prompts)}


def test_partly_right_drafts_are_counted(table_model, scripted, truths, prompts):
    got = speculative(
        table_model(), prompts[:1], scripted(truths(13), 2, 5, 11), stop=limit(13), sampler=GREEDY, fallback=False
    )
    assert got.stats.accepted == {1: 1, 3: 4}


@pytest.mark.parametrize("keep_stop", [False, True])
@pytest.mark.parametrize("at", range(9))
def test_a_stop_id_ends_the_row_at_every_place_of_a_window(table_model, scripted, truths, prompts, at, keep_stop):
    long = truths(20)
    stop_id = long[1][at]
    stop = limit(20, stop_id, keep_stop=keep_stop)
    expected = autoregressive(table_model(), prompts, stop=stop, sampler=GREEDY)
    for proposer in proposers(scripted, long).values():
        got = speculative(table_model(), prompts, proposer, stop=stop, sampler=GREEDY, fallback=False)
        assert (got.tokens, got.finish) == (expected.tokens, expected.finish)
        assert got.stats.generated == list(map(len, expected.tokens))


def test_stop_strings_and_streaming(table_model, scripted, truths, prompts):
    def decode(ids):
        return "".join(chr(97 + i) for i in ids)

    text = decode(truths(20)[1])
    stop = limit(20, stop_strings=(text[4:7],), decode=decode)
    expected = autoregressive(table_model(), prompts, stop=stop, sampler=GREEDY)
    for proposer in proposers(scripted, truths(20)).values():
        streamed: list[list[int]] = [[] for _ in prompts]
        got = speculative(
            table_model(),
            prompts,
            proposer,
            stop=stop,
            sampler=GREEDY,
            fallback=False,
            on_token=lambda row, tokens, to=streamed: to[row].extend(tokens),
        )
        assert got.tokens == expected.tokens == streamed
        assert got.finish[1] == "stop_string"


def test_the_trace_names_the_pass_of_every_token(table_model, scripted, truths, prompts):
    got = speculative(
        table_model(),
        prompts,
        scripted(truths(9), None, 3, 11),
        stop=limit(9),
        sampler=GREEDY,
        fallback=False,
        trace=True,
    )
    assert got.trace is not None
    rows: dict[int, dict[int, int]] = {row: {} for row in range(len(prompts))}
    for entry in got.trace.to_list():
        assert all(0 < c <= 1 for c in entry["confidences"])
        rows[entry["row"]].update(zip(entry["positions"], entry["tokens"], strict=True))
    assert [[tokens[i] for i in range(9)] for tokens in rows.values()] == got.tokens
    first = [entry for entry in got.trace.to_list() if entry["row"] == 0]
    assert [(e["pass"], e["phase"], len(e["positions"])) for e in first] == [
        (0, "prefill", 1),
        (1, "verify", 4),
        (2, "verify", 4),
    ]


def test_one_host_read_per_pass(table_model, scripted, truths, prompts, monkeypatch):
    truth, reads = truths(15), []
    for name in ("tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__"):
        original = getattr(torch.Tensor, name)

        def counted(tensor, *args, original=original, name=name, **kwargs):
            reads.append(name)
            return original(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    for trace in (False, True):
        reads.clear()
        got = speculative(
            table_model(), prompts, scripted(truth, 2, 4, 11), stop=limit(15), sampler=GREEDY, trace=trace
        )
        assert reads == ["tolist"] * got.stats.nfe


def test_the_proposer_learns_what_was_settled_and_what_was_guessed(table_model, scripted, truths, prompts):
    truth = truths(8)
    proposer = scripted(truth, 1, 3, 11)
    speculative(table_model(), prompts[:1], proposer, stop=limit(8), sampler=GREEDY, fallback=False)
    assert proposer.seen[0] == (0, truth[0][:1], [])
    row, accepted, rest = proposer.seen[1]
    assert (row, accepted, len(rest)) == (0, truth[0][1:3], 2)


def test_hidden_states_of_settled_tokens_are_handed_over(table_model, scripted, truths, prompts):
    model, seen = table_model(), {row: [] for row in range(len(prompts))}

    class Curious(scripted):
        wants_hidden = True

        def observe(self, row, accepted, rest, hidden=None):
            seen[row].append(hidden)

    got = speculative(model, prompts, Curious(truths(9), 1, 3, 11), stop=limit(9), sampler=GREEDY, fallback=False)
    for row, prompt in enumerate(prompts):
        states = torch.cat(seen[row])
        assert seen[row][0].shape == (len(prompt), 1)
        assert states.shape[0] == len(prompt) + len(got.tokens[row]) - 1
        assert model.head(states[len(prompt) - 1 :]).argmax(-1).tolist() == got.tokens[row]


def test_short_rows_never_outgrow_the_cache(table_model, scripted):
    """A window is as wide as the longest draft of any row; it must fit the fullest row too."""
    prompts = [[1] * 20, [2]]
    truth = autoregressive(table_model(context_length=32), prompts, stop=limit(12), sampler=GREEDY).tokens

    class Uneven(scripted):
        def propose(self, rows, contexts, limits):
            drafts = super().propose(rows, contexts, limits)
            return [draft if row == 1 else draft[:1] for row, draft in zip(rows, drafts, strict=True)]

    got = speculative(
        table_model(context_length=32),
        prompts,
        Uneven(truth, None, 11, 11),
        stop=limit(12),
        sampler=GREEDY,
        fallback=False,
    )
    assert got.tokens == truth


@pytest.mark.parametrize("length", [1, 5, 12])
def test_a_proposer_that_ignores_its_limits_is_cut(table_model, scripted, length):
    """Drafts longer than a row or the cache has room for; the row nearest its end decides over neither."""
    prompts = [[1] * 20, [2]]
    truth = autoregressive(table_model(context_length=64), prompts, stop=limit(40), sampler=GREEDY).tokens

    class Boundless(scripted):
        def propose(self, rows, contexts, limits):
            return super().propose(rows, contexts, [30] * len(limits))

    model = table_model(context_length=20 + length)
    proposer = Boundless(truth, None, 30, 11)
    got = speculative(model, prompts, proposer, stop=limit(length), sampler=GREEDY, fallback=False)
    assert got.tokens == [row[:length] for row in truth]
    assert got.stats.accepted.total() == got.stats.row_forwards.total()
    assert sum(tokens * times for tokens, times in got.stats.accepted.items()) == 2 * length
    assert max(width for _, width in model.passes[1:]) <= length if length > 1 else len(model.passes) == 1


@pytest.mark.parametrize("sampler", [GREEDY, WARM])
@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(table_model, prompts, sampler, trace, bad):
    model = table_model()
    model.table[:, 4] = bad
    for decode in (autoregressive, partial(speculative, proposer=Jacobi())):
        with pytest.raises(NumericsError, match="logits are not numbers"):
            decode(model, prompts, stop=limit(9), sampler=sampler, trace=trace)


def test_a_draft_outside_the_vocabulary_is_refused(table_model, scripted, prompts):
    proposer = scripted([[11] * 9] * 5, None, 3, 99)
    with pytest.raises(ConfigError, match=r"drafted id 11 for row 0, and the model has ids 0 to 10"):
        speculative(table_model(), prompts, proposer, stop=limit(9), sampler=GREEDY)


def test_prompts_are_checked_first(table_model):
    with pytest.raises(DataError, match="Prompt 1 is empty"):
        speculative(table_model(), [[1], []], Jacobi(), stop=limit(4), sampler=GREEDY)


def test_falling_back_keeps_the_output_and_saves_the_passes_of_useless_drafts(table_model, scripted, truths, prompts):
    def run(**how):
        drafts = scripted(truths(50), 0, 7, 11)
        return speculative(table_model(), prompts, drafts, stop=limit(50), sampler=GREEDY, **how)

    with_, without = run(), run(fallback=False)
    assert with_.tokens == without.tokens == truths(50)
    assert without.stats.forwards["verify"] == 48
    assert with_.stats.forwards["verify"] <= 10
    assert run().stats.to_dict()["forwards"] == with_.stats.to_dict()["forwards"]


def test_useful_drafts_are_not_given_up(table_model, scripted, truths, prompts):
    def run(**how):
        drafts = scripted(truths(50), None, 7, 11)
        return speculative(table_model(), prompts, drafts, stop=limit(50), sampler=GREEDY, **how).stats

    assert run().forwards == run(fallback=False).forwards
    # Where a wide pass costs nothing, even rare hits pay.
    free = speculative(
        table_model(), prompts, scripted(truths(50), 1, 7, 11), stop=limit(50), sampler=GREEDY, pass_cost=FREE
    )
    assert free.stats.forwards["step"] <= 1


def test_a_proposer_may_read_the_cache_and_write_behind_it(table_model, scripted, prompts, truths) -> None:
    """Its rows are those of the call, each one token short of its context; what a draft pass leaves there is overwritten."""

    class Reader(scripted):
        def share(self, cache):
            self.cache, self.passes = cache, 0

        def propose(self, rows, contexts, limits):
            assert self.cache.lengths == [len(context) - 1 for context in contexts]
            self.cache.window(1)
            wrong = torch.full((len(rows), 1, 1, 1), 1e6, dtype=torch.float64)
            self.cache.update(0, wrong, wrong)
            self.cache.keep(0)
            self.passes += 1
            return super().propose(rows, contexts, limits)

    proposer = Reader(truths(12), 2, 4, 11)
    stop = StopRule(frozenset({5}), 12)
    decoded = speculative(table_model(), prompts, proposer, stop=stop, sampler=Sampler(), fallback=False)
    assert decoded.tokens == autoregressive(table_model(), prompts, stop=stop, sampler=Sampler()).tokens
    assert len({len(tokens) for tokens in decoded.tokens}) > 1
    assert proposer.passes > 1


def test_recycling_hands_hidden_states_and_cache_on_to_its_guesser(table_model, prompts, scripted, truths) -> None:
    shapes = []

    class Both(scripted):
        wants_hidden = True

        def share(self, cache):
            self.cache = cache

        def propose(self, rows, contexts, limits):
            assert self.cache.lengths == [len(context) - 1 for context in contexts]
            return super().propose(rows, contexts, limits)

        def observe(self, row, accepted, rest, hidden=None):
            shapes.append(hidden.shape)
            super().observe(row, accepted, rest)

    got = speculative(
        table_model(), prompts, Recycling(Both(truths(9), 1, 3, 11)), stop=limit(9), sampler=GREEDY, fallback=False
    )
    assert got.tokens == truths(9)
    assert shapes[: len(prompts)] == [(len(prompt), 1) for prompt in prompts]
    assert not hasattr(Recycling(NgramLookup()).guesser, "share")
    assert not Recycling(NgramLookup()).wants_hidden
