from collections import Counter

import pytest
import torch
from ar_core.decoding import Decoded, DecodeStats
from ar_core.hf import HFBackbone
from dlm_text.tasks import build_tokenizer, encode_answer, encode_prompt, held_out
from dlm_text.tasks.evaluate import MAX_ANSWER_TOKENS, arm, evaluate
from transformers import LlamaConfig, LlamaForCausalLM


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def oracle(tokenizer, problems, *, wrong=(), tokens_per_pass=1, calls=None):
    """A decoder that knows the answers, except those of the problems numbered in ``wrong``."""
    known = {tuple(encode_prompt(tokenizer, p.prompt)): (n, p) for n, p in enumerate(problems)}

    def decode(prompts):
        (prompt,) = prompts
        number, problem = known[tuple(prompt)]
        if calls is not None:
            calls.append(number)
        ids = encode_answer(tokenizer, problem.answer)[:-1]
        if number in wrong:
            ids = ids[:-1]
        passes = -(-len(ids) // tokens_per_pass)
        stats = DecodeStats(
            forwards=Counter(prefill=1, denoise=passes - 1),
            row_forwards=Counter(prefill=1, denoise=passes - 1),
            seconds=Counter({"denoise": 0.5 * passes}),
            generated=[len(ids)],
        )
        return Decoded([ids], ["stop_id"], stats)

    return decode


def test_accuracy_and_passes_are_counted(tokenizer):
    problems = held_out("mixed", 12)
    scores = evaluate(
        {
            "one": oracle(tokenizer, problems, wrong=(3, 7, 8)),
            "four": oracle(tokenizer, problems, tokens_per_pass=4),
        },
        problems,
        tokenizer,
    )
    assert scores["one"].accuracy == 9 / 12
    assert scores["four"].accuracy == 1.0
    lengths = [len(encode_answer(tokenizer, p.answer)) - 1 for p in problems]
    passes = sum(-(-length // 4) for length in lengths)
    assert scores["four"].stats.tokens_per_forward == sum(lengths) / passes
    assert scores["four"].seconds == 0.5 * passes
    assert scores["one"].stats.tokens_per_forward == 1.0
    assert scores["one"].standard_error == pytest.approx((0.75 * 0.25 / 12) ** 0.5)
    by_task = scores["one"].to_dict()["accuracy_by_task"]
    assert set(by_task) == {p.task for p in problems}
    wrong = Counter(problems[n].task for n in (3, 7, 8))
    asked = Counter(p.task for p in problems)
    assert by_task == {task: round(1 - wrong[task] / asked[task], 4) for task in asked}


def test_decoders_take_turns_and_each_begins_as_often(tokenizer):
    problems = held_out("mixed", 4)
    calls = {"a": [], "b": []}
    order = []
    arms = {name: oracle(tokenizer, problems, calls=calls[name]) for name in calls}
    evaluate(arms, problems, tokenizer, on_answer=lambda name, *_: order.append(name))
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert calls["a"] == calls["b"] == [0, 1, 2, 3]


def test_an_arm_may_be_told_how_long_each_answer_is(tokenizer):
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        # It never ends by itself.
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    prompts = [encode_prompt(tokenizer, problem.prompt) for problem in held_out("mixed", 2)]
    lengths = {tuple(prompt): 3 + n for n, prompt in enumerate(prompts)}
    told = arm(HFBackbone(model), tokenizer, limit=lambda prompt: lengths[tuple(prompt)])
    assert [len(told([prompt]).tokens[0]) for prompt in prompts] == [3, 4]
    assert len(arm(HFBackbone(model), tokenizer)(prompts[:1]).tokens[0]) == MAX_ANSWER_TOKENS
