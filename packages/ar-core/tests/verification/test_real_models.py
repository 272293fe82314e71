"""Verified decoding equals autoregressive decoding on Hugging Face models: tiny ones, stories260K, SmolLM2-135M."""

import json

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.sampling import Sampler
from ar_core.verification import Draft, Jacobi, MultiBlock, NgramLookup, Recycling, first_difference, speculative

pytest.importorskip("transformers")

NEAR_TIE = 1e-3
PROPOSERS = {
    "lookup": NgramLookup,
    "jacobi": Jacobi,
    "recycling": lambda: Recycling(Jacobi()),
    "multiblock": lambda: Recycling(MultiBlock(block_length=8, spawn_ratio=0.5)),
}


def build(name, **settings):
    import transformers
    from ar_core.hf import HFBackbone

    config = getattr(transformers, f"{name}Config")(
        **{
            "vocab_size": 97,
            "hidden_size": 48,
            "intermediate_size": 72,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 96,
            **settings,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
        for parameter in model.parameters():
            # Large enough that greedy output varies instead of repeating one token.
            torch.nn.init.normal_(parameter, std=0.8)
    return HFBackbone(model)


@pytest.fixture(scope="module", params=["Llama", "Qwen2"])
def tiny(request):
    return build(request.param)


def assert_equal_but_for_near_ties(backbone, prompts, expected, got, stop):
    """Exact in float64; below, a token less than 1e-3 under the best logit is allowed to differ, and printed."""
    for row, prompt in enumerate(prompts):
        difference = first_difference(backbone, prompt, expected[row], got[row], stop_ids=stop.stop_ids)
        if difference is not None:
            print(f"prompt {row}: {difference}")
            assert backbone.dtype != torch.float64
            assert difference.margin < NEAR_TIE


@pytest.mark.parametrize("method", PROPOSERS)
@pytest.mark.parametrize("sampler", [Sampler(), Sampler(temperature=0.9, top_p=0.9)])
def test_tiny_models_ragged_batch(tiny, method, sampler):
    prompts = [[5], [1, 2, 3, 1, 2, 3, 1, 2], [9] * 7, list(range(60, 91))]
    stop = StopRule(frozenset({3, 4}), 41)
    expected = autoregressive(tiny, prompts, stop=stop, sampler=sampler, seed=5)
    for fallback in (True, False):
        got = speculative(tiny, prompts, PROPOSERS[method](), stop=stop, sampler=sampler, seed=5, fallback=fallback)
        assert got.tokens == expected.tokens
        assert got.finish == expected.finish


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Mistral", {"sliding_window": 5}),
        (
            "Gemma3Text",
            {"sliding_window": 7, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"] * 2},
        ),
    ],
)
@pytest.mark.parametrize("sampler", [Sampler(), Sampler(temperature=0.9, top_p=0.9)])
def test_layers_with_a_sliding_window(name, settings, sampler):
    """Chains and trees whose branches lie further apart in the cache than in the text."""
    settings = {**settings, "num_hidden_layers": len(settings.get("layer_types", range(3)))}
    backbone = build(name, **settings)
    prompts = [[5], [1, 2, 3, 1, 2, 3, 1, 2], list(range(60, 91))]
    stop = StopRule(frozenset({3, 4}), 31)
    expected = autoregressive(backbone, prompts, stop=stop, sampler=sampler, seed=5)
    free = autoregressive(backbone, prompts, stop=StopRule(frozenset(), 40), sampler=sampler, seed=5).tokens
    for make in (*PROPOSERS.values(), lambda: LateBranch(free)):
        proposer = make()
        got = speculative(backbone, prompts, proposer, stop=stop, sampler=sampler, seed=5, fallback=False)
        assert got.tokens == expected.tokens, proposer


class LateBranch:
    """The right tokens, more of them than a window holds, behind a wrong branch of the same length."""

    wants_hidden = False

    def __init__(self, truths):
        self.truths = truths

    def begin(self, prompts):
        self.starts = [len(prompt) for prompt in prompts]

    def propose(self, rows, contexts, limits):
        return [
            Draft.of_chains([[(token + 1) % 97 for token in right], right])
            for row, context in zip(rows, contexts, strict=True)
            for right in [self.truths[row][len(context) - self.starts[row] :][:9]]
        ]

    def observe(self, row, accepted, rest, hidden=None):
        pass


def test_a_broken_roll_back_would_be_seen(tiny, monkeypatch):
    """Keeping one token too many after a rejection changes the output: the comparison above has teeth."""
    from ar_core.cache import WindowedKVCache

    keep, calls = WindowedKVCache.keep, []

    def keep_one_more_at_first(cache, n):
        calls.append(n)
        width = cache.visibles[0] - cache.starts[0]
        keep(cache, [min(n[0] + (len(calls) < 6), width), *n[1:]])

    monkeypatch.setattr(WindowedKVCache, "keep", keep_one_more_at_first)
    prompts, stop = [[1, 2, 3, 1, 2, 3, 1, 2], [4] * 14], StopRule(frozenset(), 24)
    broken = speculative(tiny, prompts, Jacobi(draft_length=2), stop=stop, sampler=Sampler(), fallback=False)
    monkeypatch.undo()
    assert len(calls) > 6
    expected = autoregressive(tiny, prompts, stop=stop, sampler=Sampler())
    assert broken.tokens[0] != expected.tokens[0]
    assert broken.tokens[1] == expected.tokens[1]


def test_first_difference_names_step_ids_and_margin(tiny):
    stop = StopRule(frozenset(), 6)
    tokens = autoregressive(tiny, [[8, 9]], stop=stop, sampler=Sampler()).tokens[0]
    assert first_difference(tiny, [8, 9], tokens, tokens) is None
    with torch.no_grad():
        logits = tiny.model(torch.tensor([[8, 9, *tokens[:4]]])).logits[0, -1]
    order = logits.argsort(descending=True).tolist()
    for rank in (1, 2, 50, 96):
        other = [*tokens[:4], order[rank], tokens[5]]
        found = first_difference(tiny, [8, 9], tokens, other)
        assert (found.step, found.expected, found.got) == (4, tokens[4], order[rank])
        assert found.margin == pytest.approx(float(logits[order[0]] - logits[order[rank]]))
    assert str(found).startswith(f"step 4: {tokens[4]} expected, {order[96]} found, whose logit is ")
    banned = first_difference(tiny, [8, 9], tokens, other, banned_ids=order[:3])
    assert banned.margin == pytest.approx(float(logits[order[3]] - logits[order[96]]))


def test_an_output_that_ended_early_is_judged_by_the_best_stop_id(tiny):
    stop = StopRule(frozenset(), 6)
    tokens = autoregressive(tiny, [[8, 9]], stop=stop, sampler=Sampler()).tokens[0]
    with torch.no_grad():
        logits = tiny.model(torch.tensor([[8, 9, *tokens[:3]]])).logits[0, -1]
    short = first_difference(tiny, [8, 9], tokens, tokens[:3])
    assert (short.step, short.expected, short.got) == (3, tokens[3], None)
    assert short.margin == float("inf"), "no near tie excuses it where no stop id is known"
    known = first_difference(tiny, [8, 9], tokens, tokens[:3], stop_ids=(11, 12))
    assert known.margin == pytest.approx(float(logits.max() - logits[[11, 12]].max()))
    longer = first_difference(tiny, [8, 9], tokens[:3], tokens)
    assert (longer.expected, longer.got, longer.margin) == (None, tokens[3], 0)


@pytest.fixture(scope="module")
def stories(stories260k):
    from ar_core.hf import load_causal_lm

    return load_causal_lm(stories260k, dtype=torch.float64)


STORIES = (
    "Once upon a time",
    "Tom had a red ball. Tom had a red ball. Tom had",
    "The cat said: I like fish. The dog said:",
    "One day, a little girl named Lily went to the park with her mom. Lily saw",
    "\n",
)


@pytest.mark.data
@pytest.mark.parametrize("method", PROPOSERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_stories260k(stories, method, dtype):
    from ar_core.hf import HFBackbone

    backbone = HFBackbone(stories.model.to(dtype))
    prompts = [list(stories.tokenizer(text)["input_ids"]) for text in STORIES]
    stop = StopRule(frozenset({1, 2}), 96)
    expected = autoregressive(backbone, prompts, stop=stop, sampler=Sampler())
    got = speculative(backbone, prompts, PROPOSERS[method](), stop=stop, sampler=Sampler(), fallback=False)
    assert_equal_but_for_near_ties(backbone, prompts, expected.tokens, got.tokens, stop)
    print(f"{method}: {got.stats.tokens_per_forward:.2f} tokens per forward")
    assert got.stats.nfe < expected.stats.nfe
    warm = Sampler(temperature=0.8, top_p=0.9)
    if dtype == torch.float64:
        drawn = autoregressive(backbone, prompts, stop=stop, sampler=warm, seed=1)
        assert (
            speculative(backbone, prompts, PROPOSERS[method](), stop=stop, sampler=warm, seed=1).tokens == drawn.tokens
        )


@pytest.mark.data
@pytest.mark.smollm2
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "count", "length"), [(torch.float32, 2, 20), (torch.float64, 2, 8)])
def test_smollm2_on_spec_bench(smollm2_gguf, data_dir, dtype, count, length):
    from ar_core.hf import HFBackbone, load_causal_lm

    loaded = load_causal_lm(smollm2_gguf, dtype=dtype)
    backbone = HFBackbone(loaded.model)
    with (data_dir / "text" / "spec_bench.jsonl").open(encoding="utf-8") as file:
        questions = [json.loads(line) for line in file]
    first = {question["category"]: question["turns"][0] for question in reversed(questions)}
    chats = [[{"role": "user", "content": turn}] for turn in list(first.values())]
    ids = [
        list(loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))
        for chat in chats
    ]
    prompts = [prompt for prompt in ids if len(prompt) < 256][:count]
    assert len(prompts) == count
    stop = StopRule(frozenset({loaded.tokenizer.eos_token_id}), length)
    expected = autoregressive(backbone, prompts, stop=stop, sampler=Sampler())
    for method, make in PROPOSERS.items():
        got = speculative(backbone, prompts, make(), stop=stop, sampler=Sampler())
        print(f"{method}: {got.stats.tokens_per_forward:.2f} tokens per forward")
        assert_equal_but_for_near_ties(backbone, prompts, expected.tokens, got.tokens, stop)
