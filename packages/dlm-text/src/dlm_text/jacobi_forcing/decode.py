"""Decoding with a model that Jacobi Forcing trained (arXiv 2512.14681, section 4): lossless multi-block Jacobi iteration."""

from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.sampling import Sampler
from ar_core.verification.decode import MultiBlockOptions, decode

__all__ = ["JacobiForcingDecodeConfig", "generate"]


@dataclass(frozen=True, kw_only=True)
class JacobiForcingDecodeConfig(MultiBlockOptions):
    """How a checkpoint generates, with the paper's settings for a 7B model on an H200 as defaults.

    Any causal model will do, a trained one needs fewer passes; n may differ from that of training. Plain Jacobi decoding is
    `blocks=1, pool=0`; the paper runs it with n = 128.

    Raises:
        ConfigError: a value is out of range.
    """

    block_length: int = 64
    """n: tokens of a block. Paper: 64, and 128 without recycling and further blocks."""
    blocks: int = 2
    """K: blocks in flight. Paper: 2."""
    spawn_ratio: float = 0.85
    """r. Paper: 0.85."""
    pool: int = 4
    """G: rejected sequences kept, and candidates tried in a pass; 0 recycles nothing. Paper: 4."""
    fallback: bool = False
    """Guess less, down to nothing, where guessing does not pay on this device; changes counters, never the output."""


def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    config: JacobiForcingDecodeConfig,
    *,
    stop: StopRule,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Generate from ragged prompts; arguments, output and errors of `ar_core.verification.speculative`.

    Args:
        backbone: the model.
        prompts: token ids of each row, chat template applied.
        config: n and the rest.
        stop: stop ids and strings, the exact limit of new tokens.
        sampler: default greedy; the output is that of autoregressive decoding with the same sampler and seed.
        seed: of the rows' random streams.
        on_token: called with a row and its newly final tokens, in order.
        trace: record which pass fixed which token.
    """
    return decode(
        backbone,
        prompts,
        config,
        stop=stop,
        sampler=sampler if sampler is not None else Sampler(),
        seed=seed,
        on_token=on_token,
        trace=trace,
    )
