"""Decoding with a model that Jacobi Forcing trained (arXiv 2512.14681, section 4): lossless Jacobi iteration."""

from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler
from ar_core.verification import TYPICAL_PASS_COST, Jacobi, PassCost, speculative

__all__ = ["JacobiForcingDecodeConfig", "generate"]


@dataclass(frozen=True, kw_only=True)
class JacobiForcingDecodeConfig:
    """How a checkpoint generates; any causal model will do, a trained one needs fewer passes.

    Raises:
        ConfigError: a value is out of range.
    """

    block_size: int = 64
    """n: tokens of a pass, the newest one and n - 1 guesses. Paper: 64, and 128 without recycling; it may differ from that
    of training. The window slides with every accepted prefix, the paper's "running window"."""

    fallback: bool = False
    """Guess less, down to nothing, where guessing does not pay on this device; changes counters, never the output."""

    pass_cost: PassCost = TYPICAL_PASS_COST
    """What passes of several tokens cost on this device, for `fallback`; `ar-decode tune` measures it."""

    def __post_init__(self) -> None:
        if self.block_size < 2:
            raise ConfigError(
                f"block_size is {self.block_size}, but a window of Jacobi decoding has at least 2 tokens: raise it, or decode "
                "with the method 'ar'"
            )

    def proposer(self) -> Jacobi:
        """A fresh proposer."""
        return Jacobi(draft_length=self.block_size - 1)


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
    return speculative(
        backbone,
        prompts,
        config.proposer(),
        stop=stop,
        sampler=sampler if sampler is not None else Sampler(),
        seed=seed,
        fallback=config.fallback,
        pass_cost=config.pass_cost,
        on_token=on_token,
        trace=trace,
    )
