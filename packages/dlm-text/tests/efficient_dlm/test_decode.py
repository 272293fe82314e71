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
from torch import Tensor
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
    accepted = {} if "mode" in changed else {"threshold": 0.2}
    return EfficientDLMDecodeConfig(**{"mask_id": MASK, "diffusion_block_size": 8, **accepted, **changed})


Recompute = Callable[[HFBackbone, list[int], EfficientDLMDecodeConfig, int], tuple[list[int], int]]


@torch.no_grad()
def recompute(
    backbone: HFBackbone, prompt: list[int], config: EfficientDLMDecodeConfig, n: int
) -> tuple[list[int], int]:
    """The method without cache or batch: every pass runs the whole sequence. Greedy; gives tokens and denoise passes."""
    size, start = config.diffusion_block_size, len(prompt)
    first = start if config.grid == "prompt" else start // size * size
    ids, passes = list(prompt), 0

    def predicted(begin: int, end: int, ahead: int = 0) -> tuple[Tensor, Tensor]:
        """Confidence and token for positions 0 to `end`, of which those from `begin` on are the current block; `ahead` M behind."""
        index = torch.arange(end + ahead)
        block = torch.div(index - first, size, rounding_mode="floor")
        if config.context == "causal":
            # Finished tokens see what is before them, the current block sees everything.
            position = torch.where(index < begin, index, end - 1)
            mask = Mask(causal(), Tokens(position=position), Tokens(position=index))
        elif config.context == "whole":
            mask = None
        else:
            rows = block.clamp(min=-1) if config.context == "bidirectional" else block
            mask = Mask.self_attention(block_causal(), Tokens(block=rows))
        logits = backbone.head(
            backbone.hidden(torch.tensor([[*ids[:end], *[MASK] * ahead]]), positions=index[None], mask=mask)
        )[0]
        logits[:, MASK] = -torch.inf
        return logits.softmax(-1).max(-1)

    for begin in range(first, start + n, size):
        end = min(begin + size, start + n)
        masked = [i for i in range(begin, end) if i >= len(ids)]
        ids += [MASK] * (begin + size - len(ids))
        ahead = (start + n - begin - 1) // size * size if config.context == "whole" else 0
        if config.first_token == "commit" and masked[0] == begin:
            ids[begin] = int(predicted(begin, begin)[1][-1])
            masked.remove(begin)
        number = 0
        while masked:
            confidence, token = predicted(begin, begin + size, ahead)
            if config.token_shift:
                confidence, token = confidence.roll(1), token.roll(1)
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


@pytest.mark.parametrize(
    "changed",
    [
        {"first_token": "commit", "context": "causal"},
        *(
            {"first_token": "commit", "token_shift": True, "context": context}
            for context in CONTEXTS
            if context != "whole"
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("grid", ["prompt", "absolute"])
def test_first_tokens_of_the_pass_before(backbone: HFBackbone, changed: dict, grid: str) -> None:
    """The first token of a block is the next-token prediction behind the finished tokens; the rest is denoised, at i or i-1."""
    config = settings(grid=grid, **changed)
    for prompt in prompts((3, 8)):
        expected, passes = recompute(backbone, prompt, config, 18)
        decoded = generate(backbone, [prompt], config, stop=StopRule(frozenset(), 18))
        assert decoded.tokens[0] == expected
        assert decoded.stats.forwards["denoise"] == passes
        plain = settings(grid=grid, context=config.context)
        assert generate(backbone, [prompt], plain, stop=StopRule(frozenset(), 18)).tokens[0] != expected


@pytest.mark.parametrize("shift", [False, True])
def test_hybrids_in_blocks_of_one_are_autoregressive(backbone: HFBackbone, shift: bool) -> None:
    """With first tokens from the commit pass nothing is left to denoise."""
    config = settings(diffusion_block_size=1, context="causal", first_token="commit", token_shift=shift)
    stop = StopRule(frozenset(range(0, 120, 19)), 17)
    assert generate(backbone, prompts(), config, stop=stop).tokens == plain_ar(backbone, stop).tokens


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


@pytest.mark.parametrize("size", [1, 4, 5, 64])
@pytest.mark.parametrize("context", CONTEXTS)
def test_block_size_can_change_at_decoding(backbone: HFBackbone, size: int, context: str) -> None:
    """Blocks of another size than in training, longer than the output as well: grid, masks and commits follow it."""
    config = settings(diffusion_block_size=size, context=context)
    decoded = generate(backbone, prompts(), config, stop=StopRule(frozenset(), 19))
    assert decoded.tokens == [recompute(backbone, prompt, config, 19)[0] for prompt in prompts()]


@torch.no_grad()
def test_confidence_does_not_depend_on_the_temperature(backbone: HFBackbone) -> None:
    """Released code: tokens are drawn at the temperature, and accepted by their probability at temperature 1."""
    sampler, stop = Sampler(temperature=0.5), StopRule(frozenset(), 8)
    (prompt,) = prompts((5,))
    decoded = generate(backbone, [prompt], settings(threshold=1.0), stop=stop, sampler=sampler, seed=1, trace=True)
    ids = torch.tensor([prompt + [MASK] * 8])
    index = torch.arange(13)
    mask = Mask.self_attention(block_causal(), Tokens(block=(index >= 5).long()))
    logits = backbone.head(backbone.hidden(ids, positions=index[None], mask=mask))[0, 5:]
    logits[:, MASK] = -torch.inf
    (first,) = [entry for entry in decoded.trace.to_list() if entry["phase"] == "denoise"][:1]
    (position,), (token,), (confidence,) = first["positions"], first["tokens"], first["confidences"]
    raw, drawn = (float((logits[position] / t).softmax(-1)[token]) for t in (1.0, 0.5))
    assert confidence == pytest.approx(raw, abs=1e-6)
    assert abs(raw - drawn) > 0.05


@pytest.mark.parametrize("changed", [{"mode": "autoregressive"}, {"mode": "self_speculation"}], ids=str)
def test_modes_of_one_token_have_no_blocks(changed: dict) -> None:
    """What is scored or sized by a method's blocks (likelihoods, room in the context) must not find any."""
    assert settings().policy().block_size == 8
    config = settings(context="causal", **changed)
    assert config.policy() is None
    assert config.draft_length == (7 if config.mode == "self_speculation" else 0)


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


@pytest.mark.parametrize("shift", [False, True])
def test_drafts_are_one_diffusion_pass_over_the_rest_of_a_block(backbone: HFBackbone, shift: bool) -> None:
    """The first draft behind a prompt: [last token, M, M, M] that sees the causal past, recomputed without a cache.

    With a token shift, the draft begins with what the last token's own row says.
    """
    for prompt in prompts((1, 7, 20)):
        proposer = Spy(backbone, mask_id=MASK, block_size=4, shift=shift)
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
            logits = backbone.head(hidden)[0, begin : end - 1] if shift else backbone.head(hidden)[0, begin + 1 :]
        logits[:, MASK] = -torch.inf
        assert logits.argmax(-1).tolist() == draft


def test_the_mask_token_is_never_drafted(backbone: HFBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """However sure of it the model is: the verifier refuses it, and the draft would end there."""
    original = backbone.head
    monkeypatch.setattr(backbone, "head", lambda hidden: original(hidden) + 99.0 * (torch.arange(131) == MASK))
    proposer = Spy(backbone, mask_id=MASK, block_size=4)
    speculative(
        backbone,
        prompts(),
        proposer,
        stop=StopRule(frozenset(), 9),
        sampler=Sampler(banned_ids=(MASK,)),
        fallback=False,
    )
    drafts = [draft for rounds in proposer.seen.values() for _, draft in rounds]
    assert len(drafts) > 8
    assert not any(MASK in draft for draft in drafts)


def test_self_speculation_drafts_as_the_model_was_trained(
    backbone: HFBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    original = SelfSpeculation.__init__
    monkeypatch.setattr(
        SelfSpeculation, "__init__", lambda self, *a, **k: made.append(k["shift"]) or original(self, *a, **k)
    )
    for shift in (False, True):
        first = "commit" if shift else "denoise"
        config = settings(mode="self_speculation", context="causal", token_shift=shift, first_token=first)
        stop = StopRule(frozenset(), 9)
        assert generate(backbone, prompts(), config, stop=stop).tokens == plain_ar(backbone, stop).tokens
    assert made == [False, True]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "fast"}, "mode is 'fast', which is none of 'diffusion', 'autoregressive', 'self_speculation'"),
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
    for mode, context, said in (
        ("diffusion", "block_causal", "mask id is 131, and"),
        ("self_speculation", "causal", "mask_id is 131, and"),
        ("autoregressive", "causal", "ids 131 are not to be generated, and"),
    ):
        config = settings(mask_id=131, mode=mode, context=context)
        with pytest.raises(ConfigError, match=f"{said} the model has ids 0 to 130"):
            generate(backbone, prompts(), config, stop=StopRule(frozenset(), 4))
