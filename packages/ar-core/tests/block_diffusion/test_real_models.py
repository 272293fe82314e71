"""Block decoding on real weights, stories260K and SmolLM2-135M, ten fixed prompts: the cached decoder against one that
recomputes everything, block size 1 against AR, a ragged batch against its rows alone.

Exact in float64. In float32, passes of different shapes round differently: rows may part at a pass whose decision was
within 1e-3 of going the other way, and such passes are printed. Neither model was converted, so any id that their texts
do not contain serves as the mask token.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import StopRule, Trace, autoregressive
from ar_core.sampling import Sampler
from torch import Tensor

pytest.importorskip("transformers")

NEAR_TIE = 1e-3

Passes = list[dict[int, int]]


@dataclass
class Case:
    """A model, prompts and a length.

    Attributes:
        backbone: the model in float32 or float64.
        prompts: ten.
        new_tokens: decoded for each.
        mask_id: an id that neither prompts nor outputs contain.
        threshold: one that some predictions of the unconverted model reach.
    """

    backbone: Any
    prompts: list[list[int]]
    new_tokens: int
    mask_id: int
    threshold: float

    @property
    def stop(self) -> StopRule:
        """The length alone, so that every row takes part to the end."""
        return StopRule(frozenset(), self.new_tokens)

    def policy(self, **settings: Any) -> BlockPolicy:
        """Blocks of 8, sub-blocks of 4."""
        common = {"block_size": 8, "sub_block_size": 4, "mask_id": self.mask_id, "threshold": self.threshold}
        return BlockPolicy(**{**common, **settings})


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def stories_case(request, stories260k) -> Case:
    from ar_core.hf import HFBackbone, load_causal_lm

    loaded = load_causal_lm(stories260k, dtype=request.param)
    assert loaded.tokenizer is not None
    text = (
        "Once upon a time there was a little girl named Lily. She went to the park with her mom and saw a big red ball."
    )
    ids = loaded.tokenizer(text)["input_ids"]
    # Around one, two and three blocks of 8.
    prompts = [ids[:n] for n in (1, 7, 8, 9, 15, 16, 17, 24, 25, 30)]
    return Case(HFBackbone(loaded.model), prompts, 30, mask_id=511, threshold=0.3)


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def smollm2_case(request, smollm2_gguf) -> Case:
    from ar_core.hf import HFBackbone, load_causal_lm

    loaded = load_causal_lm(smollm2_gguf, dtype=request.param)
    assert loaded.tokenizer is not None
    questions = json.loads((Path(__file__).parents[1] / "hf" / "prompts.json").read_text(encoding="utf-8"))
    # Without the chat template, which would make every prompt two to four times as long, and every uncached pass as slow.
    prompts = [loaded.tokenizer.encode(question) for question in questions]
    return Case(HFBackbone(loaded.model), prompts, 6, mask_id=3, threshold=0.1)


def fixed(trace: Trace | None, row: int = 0) -> Passes:
    """What each pass of a row fixed."""
    assert trace is not None
    return [dict(zip(e["positions"], e["tokens"])) for e in trace.to_list() if e["row"] == row]


def margin(logits: Tensor, policy: BlockPolicy) -> float:
    """How far one pass's logits [n, V] were from another decision: top-2 gap of any target, distance of any confidence
    from the threshold, lead of the most confident target over the next."""
    logits = logits.double().clone()
    logits[:, policy.mask_id] = -math.inf
    gaps = logits.topk(2).values
    confidence = logits.softmax(-1).amax(-1)
    near = [*(gaps[:, 0] - gaps[:, 1]).tolist(), *(confidence - policy.threshold).abs().tolist()]
    if len(confidence) > 1:
        first, second = confidence.topk(2).values.tolist()
        near.append(first - second)
    return min(near, default=math.inf)


def alone(case: Case, prompt: list[int], policy: BlockPolicy) -> tuple[Passes, list[float]]:
    """What each pass fixed when one prompt is decoded with the cache, and how close each pass's decision was."""
    head, margins = case.backbone.head, []

    def record(hidden: Tensor) -> Tensor:
        logits = head(hidden)
        margins.append(margin(logits.flatten(0, -2), policy))
        return logits

    case.backbone.head = record
    try:
        decoded = decode_blocks(case.backbone, [prompt], policy, stop=case.stop, trace=True)
    finally:
        del case.backbone.head
    passes = fixed(decoded.trace)
    # A prefill that predicts nothing has no logits.
    margins = [math.inf] * (len(passes) - len(margins)) + margins
    return passes, margins


def compare(
    case: Case, name: str, got: Passes, expected: Passes, prompt: list[int], policy: BlockPolicy, skip: int = 0
) -> None:
    """Equal pass by pass, or in float32 parted at a printed pass whose decision was close; `skip` passes are not compared."""
    number = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), None)
    if number is None:
        assert len(got) == len(expected), name
        return
    close = alone(case, prompt, policy)[1][skip:][number]
    print(f"{name}: pass {number} fixed {got[number]} instead of {expected[number]}, margin {close:.1e}")
    assert case.backbone.dtype == torch.float32, name
    assert close < NEAR_TIE, name


def check(case: Case, recompute, *, commits: tuple[str, ...]) -> None:
    """All of it on one model."""
    assert len(case.prompts) == 10
    plain = autoregressive(case.backbone, case.prompts, stop=case.stop, sampler=Sampler(banned_ids=(case.mask_id,)))
    one = case.policy(block_size=1, sub_block_size=1)
    blocks = decode_blocks(case.backbone, case.prompts, one, stop=case.stop, trace=True)
    for row, prompt in enumerate(case.prompts):
        tokens = [{step: token} for step, token in enumerate(plain.tokens[row])]
        passes = fixed(blocks.trace, row)
        per_token = [passed for passed in passes if passed]
        compare(case, f"block size 1, prompt {row}", per_token, tokens, prompt, one, skip=len(passes) - len(per_token))

    for commit in commits:
        policy = case.policy(commit=commit)
        several = 0
        for row, prompt in enumerate(case.prompts):
            expected = recompute(case.backbone, prompt, policy, case.new_tokens)[1]
            passes = alone(case, prompt, policy)[0]
            several += sum(len(passed) > 1 for passed in passes)
            compare(case, f"uncached, {commit} commit, prompt {row}", expected, passes, prompt, policy)
        assert several, "no pass fixed several tokens"

    order = [3, 0, 7, 1, 6, 2, 5, 4]
    for cached in (False, True):
        policy = case.policy(sub_block_cache=cached)
        singles = [alone(case, prompt, policy)[0] for prompt in case.prompts[:8]]
        for rows in (range(8), order):
            chosen = [case.prompts[row] for row in rows]
            together = decode_blocks(case.backbone, chosen, policy, stop=case.stop, trace=True)
            for place, row in enumerate(rows):
                name = f"batch, sub-block cache {cached}, prompt {row} at {place}"
                compare(case, name, fixed(together.trace, place), singles[row], chosen[place], policy)


@pytest.mark.data
def test_stories260k(stories_case: Case, recompute):
    check(stories_case, recompute, commits=("separate", "fused"))


@pytest.mark.smollm2
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_smollm2(smollm2_case: Case, recompute):
    check(smollm2_case, recompute, commits=("separate",))
