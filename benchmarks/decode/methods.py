"""All methods with an acceptance that is known beforehand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import Decoded, StopRule, autoregressive
from ar_core.hf import HFBackbone
from ar_core.sampling import Sampler
from ar_core.verification import Proposer, speculative
from ar_core.verification.decode import (
    JacobiOptions,
    LookupOptions,
    MultiBlockOptions,
    RecyclingOptions,
    VerifiedOptions,
)
from dlm_text.diffuspec.draft_length import FixedLength
from dlm_text.diffuspec.drafter import Drafter
from dlm_text.diffuspec.layout import DraftLayout
from dlm_text.diffuspec.prompt_proxy import PromptProxy
from dlm_text.diffuspec.proposer import DiffuSpecProposer, SearchSettings
from dlm_text.diffuspec.vocabulary import Vocabulary
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig
from dlm_text.efficient_dlm.self_speculation import SelfSpeculation
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig

from .script import ScriptedProposer

__all__ = ["TOKEN", "Method", "baseline", "methods"]

TOKEN = 7
"""What the model says everywhere; see :func:`benchmarks.decode.models.always_says`."""

Prompts: TypeAlias = Sequence[Sequence[int]]
PolicyOf: TypeAlias = Callable[[int], BlockPolicy | None]
"""Of a mask token."""


@dataclass(frozen=True)
class Method:
    """A decoder under a script.

    Attributes:
        label: its name.
        decode: (backbone, prompts, tokens) -> output.
        tokens: N, new tokens of a row.
        first: of these, the ones that the prefill gives.
        tokens_per_forward: behind the prefill, drafts by the model itself counted; what the script says it is.
    """

    label: str
    decode: Callable[[HFBackbone, Prompts, int], Decoded]
    tokens: int
    first: int
    tokens_per_forward: float


def baseline(tokens: int) -> Method:
    """AR."""

    def decode(backbone: HFBackbone, prompts: Prompts, count: int) -> Decoded:
        return autoregressive(backbone, prompts, stop=StopRule(frozenset(), count), sampler=Sampler())

    return Method("ar", decode, tokens, 1, 1.0)


def methods(
    rounds: int,
    *,
    size: int = 32,
    sub_block: int = 8,
    step: int = 4,
    drafter: Callable[[], HFBackbone],
    ahead: int = 20,
) -> list[Method]:
    """All of them at `step` tokens a pass, as near as each comes to it.

    Block methods take D / step passes for a block, and one more where it is committed by a pass of its own. Lossless ones have
    step - 1 right tokens in each draft; with self-speculation, which pays for its draft with a pass of the same model, twice as
    many are accepted at a time. The lossless loop's fall-back is off, so that every draft is verified in full.

    Args:
        rounds: blocks of D tokens that block methods generate; lossless ones generate one token more.
        size: D.
        sub_block: S.
        step: k.
        drafter: the small diffusion model of DiffuSpec, in the engine of the others; called when it is needed.
        ahead: k_max of DiffuSpec.
    """
    tokens = rounds * size

    def fast(commit: Literal["separate", "fused"] = "separate", *, sub_block_cache: bool = False) -> PolicyOf:
        return lambda mask_id: FastDLLMv2DecodeConfig(
            mask_id=mask_id,
            diffusion_block_size=size,
            sub_block_size=sub_block,
            sub_block_cache=sub_block_cache,
            commit=commit,
        ).policy()

    def efficient(commit: Literal["separate", "fused"] = "separate") -> PolicyOf:
        return lambda mask_id: EfficientDLMDecodeConfig(
            mask_id=mask_id, diffusion_block_size=size, commit=commit
        ).policy()

    blocks = {
        "fast_dllm_v2": fast(),
        "fast_dllm_v2, sub-block cache": fast(sub_block_cache=True),
        "fast_dllm_v2, fused commit": fast("fused"),
        "efficient_dlm": efficient(),
        "efficient_dlm, fused commit": efficient("fused"),
    }
    lossless: dict[str, VerifiedOptions] = {
        "lookup": LookupOptions(),
        "jacobi": JacobiOptions(),
        "recycling": RecyclingOptions(),
        # The ratio lets a second block begin while the first has one step to go.
        "multi_block": MultiBlockOptions(block_length=16, spawn_ratio=0.75),
        "multi_block, recycling": MultiBlockOptions(block_length=16, spawn_ratio=0.75, pool=4),
    }
    return [
        *(_blocks(label, policy, tokens, size // step) for label, policy in blocks.items()),
        _lossless(
            "efficient_dlm, self-speculation",
            lambda backbone: SelfSpeculation(backbone, mask_id=backbone.vocab_size - 1, block_size=size),
            tokens + 1,
            2 * step,
            passes=2,
        ),
        *(_lossless(label, _of(options), tokens + 1, step) for label, options in lossless.items()),
        _lossless("diffuspec", lambda backbone: _diffuspec(backbone, drafter(), ahead, None), tokens + 1, step),
        _lossless(
            "diffuspec, tree of 32", lambda backbone: _diffuspec(backbone, drafter(), ahead, 32), tokens + 1, step
        ),
    ]


def _blocks(label: str, policy_of: PolicyOf, tokens: int, steps: int) -> Method:
    policy = policy_of(0)
    assert policy is not None
    first = int(policy.first_token == "commit")
    blocks = tokens // policy.block_size
    # The last block is not committed.
    passes = blocks * steps + (blocks - 1) * (policy.commit == "separate")

    def decode(backbone: HFBackbone, prompts: Prompts, count: int) -> Decoded:
        asked = policy_of(backbone.vocab_size - 1)
        assert asked is not None
        # From a threshold of 1 on, a pass accepts what the schedule says and nothing else.
        scheduled = replace(asked, threshold=1.0, steps=steps)
        return decode_blocks(backbone, prompts, scheduled, stop=StopRule(frozenset(), count))

    return Method(label, decode, tokens, first, (tokens - first) / passes)


def _lossless(
    label: str, proposer_of: Callable[[HFBackbone], Proposer], tokens: int, accepted: int, *, passes: int = 1
) -> Method:
    def decode(backbone: HFBackbone, prompts: Prompts, count: int) -> Decoded:
        inner = proposer_of(backbone)
        proposer = ScriptedProposer(inner, right=accepted - 1, token=TOKEN, vocab_size=backbone.vocab_size)
        decoded = speculative(
            backbone, prompts, proposer, stop=StopRule(frozenset(), count), sampler=Sampler(), fallback=False
        )
        if isinstance(inner, SelfSpeculation):
            decoded.stats.row_forwards.update(inner.stats.row_forwards)
        if isinstance(inner, DiffuSpecProposer):
            decoded.stats.drafter.update(forwards=inner.stats.forwards, tokens=inner.stats.tokens)
        return decoded

    return Method(label, decode, tokens, 1, accepted / passes)


def _of(options: VerifiedOptions) -> Callable[[HFBackbone], Proposer]:
    return lambda backbone: options.proposer(backbone.vocab_size)


def _diffuspec(backbone: HFBackbone, model: HFBackbone, ahead: int, nodes: int | None) -> DiffuSpecProposer:
    return DiffuSpecProposer(
        _drafter(backbone.vocab_size, model),
        PromptProxy(backbone.vocab_size, backbone.device),
        FixedLength(ahead),
        settings=SearchSettings(tree_nodes=nodes),
    )


@lru_cache(maxsize=1)
def _drafter(vocab_size: int, model: HFBackbone) -> Drafter:
    """Kept from call to call, as the decoder keeps it: comparing vocabularies takes longer than a draft."""
    layout = DraftLayout(mask_id=model.vocab_size - 1, shift=True, attention="block_causal", block_size=32)
    vocabulary = Vocabulary.same(vocab_size, model.vocab_size, forbidden={layout.mask_id})
    return Drafter(model, layout, vocabulary, cache="block")
