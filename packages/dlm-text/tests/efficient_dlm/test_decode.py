"""Decoding on a tiny random Qwen3; numbers in docstrings are those of the oracles in the method's specification."""

import copy
import random
from collections.abc import Callable

import pytest
import torch
from ar_core.decoding import Decoded, StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_causal, causal
from ar_core.sampling import Sampler
from ar_core.verification import speculative
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig, generate
from dlm_text.efficient_dlm.self_speculation import SelfSpeculation
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

SIZES = {
    "vocab_size": 131,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 256,
}
MASK = 130
CONTEXTS = ["block_causal", "bidirectional", "causal", "whole"]


@pytest.fixture(scope="module")
def backbone() -> HFBackbone:
    """A random float64 model whose weights are wide enough that argmax is safe."""
    model: PreTrainedModel = Qwen3ForCausalLM(Qwen3Config(**SIZES, tie_word_embeddings=False)).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.25)
    return HFBackbone(model)


def prompts(lengths: tuple[int, ...] = (1, 8, 13, 3), seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(5, 120) for _ in range(n)] for n in lengths]


def settings(**changed) -> EfficientDLMDecodeConfig:
    return EfficientDLMDecodeConfig(**{"mask_id": MASK, "diffusion_block_size": 8, "threshold": 0.2, **changed})


Recompute = Callable[[HFBackbone, list[int], EfficientDLMDecodeConfig, int], tuple[list[int], int]]


@torch.no_grad()
def recompute(
    backbone: HFBackbone, prompt: list[int], config: EfficientDLMDecodeConfig, n: int
) -> tuple[list[int], int]:
    """The method without cache or batch: every pass runs the whole sequence. Greedy; gives tokens and denoise passes."""
    size, start = config.diffusion_block_size, len(prompt)
    first = start if config.grid == "prompt" else start // size * size
    ids, passes = list(prompt), 0
    for begin in range(first, start + n, size):
        end = min(begin + size, start + n)
        masked = [i for i in range(begin, end) if i >= len(ids)]
        ids += [MASK] * (begin + size - len(ids))
        ahead = (start + n - begin - 1) // size * size if config.context == "whole" else 0
        number = 0
        while masked:
            index = torch.arange(begin + size + ahead)
            block = torch.div(index - first, size, rounding_mode="floor")
            if config.context == "causal":
                # Finished tokens see what is before them, the current block sees everything.
                position = torch.where(index < begin, index, begin + size - 1)
                mask = Mask(causal(), Tokens(position=position), Tokens(position=index))
            elif config.context == "whole":
                mask = None
            else:
                rows = block.clamp(min=-1) if config.context == "bidirectional" else block
                mask = Mask.self_attention(block_causal(), Tokens(block=rows))
            fed = torch.tensor([[*ids, *[MASK] * ahead]])
            logits = backbone.head(backbone.hidden(fed, positions=index[None], mask=mask))[0]
            logits = logits.roll(int(config.token_shift), 0)
            logits[:, MASK] = -torch.inf
            confidence, token = logits.softmax(-1).max(-1)
            ranked = sorted(masked, key=lambda i: -float(confidence[i]))
            whole, rest = divmod(size, config.steps) if config.steps else (1, 0)
            least = max(1, whole + (number < rest))
            fixed = ranked[:least] + [
                i for i in ranked[least:] if config.threshold < 1 and confidence[i] >= config.threshold
            ]
            for i in fixed:
                ids[i] = int(token[i])
                masked.remove(i)
            number += 1
        passes += number
    return ids[start : start + n], passes


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("grid", ["prompt", "absolute"])
@pytest.mark.parametrize("steps", [None, 3])
def test_cached_equals_recomputed(backbone: HFBackbone, context: str, grid: str, steps: int | None) -> None:
    """Oracle 14, ids exact: prompts of all alignments, a last block that is cut."""
    config = settings(context=context, grid=grid, steps=steps)
    for prompt in prompts((3, 8)):
        expected, passes = recompute(backbone, prompt, config, 13)
        decoded = generate(backbone, [prompt], config, stop=StopRule(frozenset(), 13))
        assert decoded.tokens[0] == expected
        assert decoded.stats.forwards["denoise"] == passes


def test_whole_rows_may_be_shifted(backbone: HFBackbone) -> None:
    """The first token of a block is read from the last one before it, in the same pass: no commit is needed for it."""
    config = settings(context="whole", token_shift=True)
    for prompt in prompts((3, 8)):
        expected, passes = recompute(backbone, prompt, config, 13)
        decoded = generate(backbone, [prompt], config, stop=StopRule(frozenset(), 13))
        assert decoded.tokens[0] == expected
        assert dict(decoded.stats.forwards) == {"denoise": passes}


@pytest.mark.parametrize("context", ["block_causal", "causal"])
def test_one_token_a_call(backbone: HFBackbone, context: str) -> None:
    """Oracle 12: N + N/b + 1 calls, less the commit of the last block, which we never run; threshold > 1 and a schedule of
    b steps are the same."""
    n, size = 32, 8
    plain = settings(context=context, threshold=1.5)
    by_threshold = generate(backbone, prompts((5,)), plain, stop=StopRule(frozenset(), n))
    by_steps = generate(
        backbone, prompts((5,)), settings(context=context, threshold=1.0, steps=size), stop=StopRule(frozenset(), n)
    )
    assert dict(by_threshold.stats.forwards) == {"prefill": 1, "denoise": n, "commit": n // size - 1}
    assert by_threshold.stats.nfe == n + n // size + 1 - 1
    assert by_steps.tokens == by_threshold.tokens
    assert by_steps.stats.nfe == by_threshold.stats.nfe


def test_threshold_zero_takes_two_calls_a_block(backbone: HFBackbone) -> None:
    """Oracle 13: one denoise and one commit, the last block's commit left out."""
    decoded = generate(backbone, prompts((5,)), settings(threshold=0.0), stop=StopRule(frozenset(), 32))
    assert dict(decoded.stats.forwards) == {"prefill": 1, "denoise": 4, "commit": 3}


@pytest.mark.parametrize("context", ["block_causal", "bidirectional"])
@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_fused_commits_save_calls_and_change_nothing(backbone: HFBackbone, context: str, threshold: float) -> None:
    """Section 9: where every token of a block is denoised, N=32, b=8, one token a call: 33 calls."""
    separate, fused = (
        generate(
            backbone,
            prompts((5,)),
            settings(context=context, threshold=threshold, commit=commit),
            stop=StopRule(frozenset(), 32),
        )
        for commit in ("separate", "fused")
    )
    assert fused.tokens == separate.tokens
    assert separate.stats.nfe - fused.stats.nfe == 3
    assert threshold < 1 or fused.stats.nfe == 33


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"context": "bidirectional"},
        {"context": "causal"},
        {"context": "causal", "first_token": "commit"},
        {"context": "whole"},
        {"context": "whole", "token_shift": True, "grid": "absolute"},
        {"grid": "absolute", "commit": "fused"},
        {"token_shift": True, "first_token": "commit"},
        {"batch_size": 2},
        {"context": "causal", "mode": "autoregressive"},
        {"context": "causal", "mode": "self_speculation"},
    ],
    ids=str,
)
def test_ragged_batch_equals_rows_alone(backbone: HFBackbone, changed: dict) -> None:
    """Oracle 15: exact ids, no M in any row, a row ends exactly at its first stop."""
    ids = frozenset(range(0, 120, 11))
    stop = StopRule(ids, 20, keep_stop=True)
    together = generate(backbone, prompts(), settings(**changed), stop=stop)
    alone = [generate(backbone, [row], settings(**changed), stop=stop).tokens[0] for row in prompts()]
    assert together.tokens == alone
    assert any(finish == "stop_id" for finish in together.finish)
    for tokens, finish in zip(together.tokens, together.finish, strict=True):
        assert MASK not in tokens
        assert not ids.intersection(tokens[:-1])
        assert (tokens[-1] in ids) == (finish == "stop_id")
        assert len(tokens) == 20 or finish == "stop_id"


@pytest.mark.parametrize("size", [1, 4, 64])
def test_block_size_can_change_at_decoding(backbone: HFBackbone, size: int) -> None:
    decoded = generate(backbone, prompts(), settings(diffusion_block_size=size), stop=StopRule(frozenset(), 19))
    assert [len(tokens) for tokens in decoded.tokens] == [19] * 4


def plain_ar(backbone: HFBackbone, stop: StopRule, sampler: Sampler = Sampler(), seed: int = 0) -> Decoded:  # noqa: B008
    banned = Sampler(temperature=sampler.temperature, top_p=sampler.top_p, banned_ids=(MASK,))
    return autoregressive(backbone, prompts(), stop=stop, sampler=banned, seed=seed)


@pytest.mark.parametrize(("size", "temperature"), [(2, 0.0), (3, 0.9), (8, 0.0), (40, 0.0), (40, 0.9)])
def test_self_speculation_is_lossless(backbone: HFBackbone, size: int, temperature: float) -> None:
    """Section 9: the output of the autoregressive mode, greedy and sampled, ragged rows, stops, drafts longer than the rest."""
    stop = StopRule(frozenset(range(0, 120, 19)), 17)
    sampler = Sampler(temperature=temperature, top_p=0.95 if temperature else 1.0)
    reference = plain_ar(backbone, stop, sampler, seed=3)
    config = settings(mode="self_speculation", context="causal", diffusion_block_size=size)
    decoded = generate(backbone, prompts(), config, stop=stop, sampler=sampler, seed=3)
    assert decoded.tokens == reference.tokens
    assert decoded.finish == reference.finish
    assert decoded.stats.forwards["draft"] >= 1
    assert decoded.stats.widths[min(size, 16)] >= 1  # the prefill gives the first of 17 tokens


def test_autoregressive_mode_is_the_causal_model(backbone: HFBackbone) -> None:
    """Oracle 16: the tokens of the causal forward pass, recomputed without a cache; M is never among them."""
    stop = StopRule(frozenset(), 12)
    decoded = generate(backbone, prompts(), settings(mode="autoregressive", context="causal"), stop=stop)
    assert decoded.tokens == plain_ar(backbone, stop).tokens
    reference = Qwen3ForCausalLM(copy.deepcopy(backbone.model.config)).double().eval()
    reference.load_state_dict(backbone.model.state_dict())
    reference.set_attn_implementation("sdpa")
    for prompt, tokens in zip(prompts(), decoded.tokens, strict=True):
        with torch.no_grad():
            logits = reference(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        logits[:, MASK] = -torch.inf
        assert logits.argmax(-1).tolist() == tokens


class Spy(SelfSpeculation):
    """Remembers the context of every row and the drafts made of it."""

    def begin(self, prompts):
        super().begin(prompts)
        self.seen: dict[int, list[tuple[list[int], list[int]]]] = {row: [] for row in range(len(prompts))}

    def propose(self, rows, contexts, limits):
        drafts = super().propose(rows, contexts, limits)
        for row, context, draft in zip(rows, contexts, drafts, strict=True):
            self.seen[row].append((list(context), draft))
        return drafts


def test_drafts_do_not_depend_on_batch_mates(backbone: HFBackbone) -> None:
    """What a row is drafted in a ragged batch is what it is drafted alone, round by round."""

    def drafts(rows: list[list[int]]) -> list[list[tuple[list[int], list[int]]]]:
        proposer = Spy(backbone, mask_id=MASK, block_size=4)
        speculative(backbone, rows, proposer, stop=StopRule(frozenset(), 12), sampler=Sampler(), fallback=False)
        return [proposer.seen[row] for row in range(len(rows))]

    together = drafts(prompts())
    for row, prompt in enumerate(prompts()):
        (alone,) = drafts([prompt])
        # Near its end a row is drafted as much as the longest one of its batch, and cut: the passes differ there.
        full = [round_ for round_ in alone if len(round_[1]) == 3]
        assert len(full) >= 2
        assert together[row][: len(full)] == full


def test_drafts_are_one_diffusion_pass_over_the_rest_of_a_block(backbone: HFBackbone) -> None:
    """The first draft behind a prompt: [last token, M, M, M] that sees the causal past, recomputed without a cache."""
    for prompt in prompts((1, 7, 20)):
        proposer = Spy(backbone, mask_id=MASK, block_size=4)
        speculative(backbone, [prompt], proposer, stop=StopRule(frozenset(), 9), sampler=Sampler(), fallback=False)
        context, draft = proposer.seen[0][0]
        assert len(context) == len(prompt) + 1
        assert len(draft) == 3
        begin, end = len(context) - 1, len(context) + 3
        index = torch.arange(end)
        position = torch.where(index < begin, index, end - 1)
        mask = Mask(causal(), Tokens(position=position), Tokens(position=index))
        with torch.no_grad():
            hidden = backbone.hidden(torch.tensor([context + [MASK] * 3]), positions=index[None], mask=mask)
            logits = backbone.head(hidden)[0, begin + 1 :]
        logits[:, MASK] = -torch.inf
        assert logits.argmax(-1).tolist() == draft


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "fast"}, "mode is 'fast', but must be one of diffusion, autoregressive, self_speculation"),
        ({"mode": "autoregressive"}, "mode is 'autoregressive' and context 'block_causal', but only hybrids"),
        ({"mode": "self_speculation", "context": "causal", "diffusion_block_size": 1}, "leaves no place for a draft"),
        ({"token_shift": True}, "leaves the first token of a block without logits"),
        ({"context": "causal", "commit": "fused"}, "asks one pass for two masks"),
        ({"diffusion_block_size": 0}, "block size is 0"),
    ],
)
def test_bad_settings_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def test_mask_ids_outside_the_vocabulary_are_refused(backbone: HFBackbone) -> None:
    for mode, context in (("diffusion", "block_causal"), ("self_speculation", "causal")):
        config = settings(mask_id=131, mode=mode, context=context)
        with pytest.raises(ConfigError, match=r"mask.id is 131, and the model has ids 0 to 130"):
            generate(backbone, prompts(), config, stop=StopRule(frozenset(), 4))
