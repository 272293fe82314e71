"""The decoders that are compared: with and without a second block in flight, with and without recycling."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ar_core.decoding import Backbone, Decoded, StopRule
from ar_core.sampling import Sampler
from ar_core.verification import MultiBlock, Recycling, speculative
from dlm_text.jacobi_forcing.decode import JacobiForcingDecodeConfig

__all__ = ["DECODERS", "CountingDecoder", "settings"]

POOL = 4
DECODERS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "Jacobi, K=1": {"blocks": 1, "pool": 0},
        "multi-block, K=2": {"blocks": 2, "pool": 0},
        "recycling, K=1": {"blocks": 1, "pool": POOL},
        "recycling, K=2": {"blocks": 2, "pool": POOL},
    }
)
"""By name; n, spawn ratio and what a block starts from are the same in all."""


def settings(decoder: str, block_length: int) -> dict[str, Any]:
    """What ``ar-decode``'s method ``jacobi_forcing`` takes."""
    return {"block_length": block_length, **DECODERS[decoder]}


class CountingDecoder:
    """One of the decoders, greedy, which counts the blocks that were promoted.

    Args:
        backbone: the model.
        stop: when an output ends.
        options: n, K and the rest.

    Attributes:
        promoted: blocks ahead that became the active one, over all calls.
    """

    def __init__(self, backbone: Backbone, stop: StopRule, options: JacobiForcingDecodeConfig) -> None:
        self._backbone, self._stop, self._options = backbone, stop, options
        self.promoted = 0

    def __call__(self, prompts: list[list[int]]) -> Decoded:
        """Decode a batch."""
        proposer = self._options.proposer(self._backbone.vocab_size)
        decoded = speculative(
            self._backbone,
            prompts,
            proposer,
            stop=self._stop,
            sampler=Sampler(),
            fallback=self._options.fallback,
            pass_cost=self._options.pass_cost,
        )
        blocks = proposer.guesser if isinstance(proposer, Recycling) else proposer
        assert isinstance(blocks, MultiBlock)
        self.promoted += blocks.promoted
        return decoded
