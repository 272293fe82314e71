"""One token per forward pass, under the signature that all decoders share."""

from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.decoding.autoregressive import autoregressive
from ar_core.decoding.backbone import Backbone
from ar_core.decoding.decoded import Decoded, OnToken
from ar_core.decoding.stop import StopRule
from ar_core.sampling import Sampler

__all__ = ["AutoregressiveOptions", "decode"]


@dataclass(frozen=True)
class AutoregressiveOptions:
    """Decoding one token per pass has no settings of its own."""


def decode(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    options: AutoregressiveOptions,
    *,
    stop: StopRule,
    sampler: Sampler,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Decode with `autoregressive`; same arguments, shapes and errors."""
    del options
    return autoregressive(backbone, prompts, stop=stop, sampler=sampler, seed=seed, on_token=on_token, trace=trace)
