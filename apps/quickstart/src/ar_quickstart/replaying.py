"""A decoder's trace as a replay."""

from typing import Any

from ar_core.decoding import Decoded
from ar_decode.replay import Pass, Replay, pieces

__all__ = ["replay_of"]


def replay_of(name: str, decoded: Decoded, tokenizer: Any) -> Replay:
    """The replay of the first row of an output that was decoded with ``trace=True``."""
    assert decoded.trace is not None
    entries = {entry["pass"]: entry for entry in decoded.trace.to_list() if entry["row"] == 0}
    passes = []
    for number in range(decoded.stats.nfe):
        # A pass that fixed nothing left no entry: it stored a block or the prompt.
        entry = entries.get(number, {"phase": "store", "positions": (), "confidences": ()})
        passes.append(Pass(entry["phase"], tuple(entry["positions"]), tuple(entry["confidences"])))
    return Replay(name, pieces(tokenizer.decode, decoded.tokens[0]), tuple(passes))
