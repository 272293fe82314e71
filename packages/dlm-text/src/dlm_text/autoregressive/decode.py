"""Decoding one token per forward pass, under the signature that all decoders share."""

from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.decoding import Backbone, Decoded, OnToken, StopRule, autoregressive
from ar_core.sampling import Sampler

__all__ = ["AutoregressiveDecoding", "decode"]


@dataclass(frozen=True)
class AutoregressiveDecoding:
    """Plain decoding has no settings of its own."""


def decode(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    options: AutoregressiveDecoding,
    *,
    stop: StopRule,
    sampler: Sampler,
    seed: int = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Decode with `ar_core.decoding.autoregressive`; same arguments, shapes and errors."""
    del options
    return autoregressive(backbone, prompts, stop=stop, sampler=sampler, seed=seed, on_token=on_token, trace=trace)
