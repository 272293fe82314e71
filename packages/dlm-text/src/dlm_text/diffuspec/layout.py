"""How a diffusion drafter reads its context and where its predictions stand."""

from dataclasses import dataclass
from typing import Literal

from ar_core.errors import ConfigError

__all__ = ["DraftLayout"]


@dataclass(frozen=True, kw_only=True)
class DraftLayout:
    """What drafters differ in, as data.

    | knob | Dream | LLaDA | Fast-dLLM v2 | Efficient-DLM |
    |---|---|---|---|---|
    | `shift` | True | False | True | False |
    | `attention` | bidirectional | bidirectional | block_causal | block_causal |
    | `clean` | – | – | block | block; token (hybrids) |

    Raises:
        ConfigError: a block-causal drafter without a block size.
    """

    mask_id: int
    """M, in the drafter's ids."""
    shift: bool
    """True: the logits at position i-1 predict token i, as in the autoregressive model that it was made from."""
    attention: Literal["bidirectional", "block_causal"] = "bidirectional"
    """Who sees whom: everybody, or blocks up to one's own."""
    block_size: int | None = None
    """D of block-causal drafters, whose blocks begin at multiples of D, as in training."""
    clean: Literal["block", "token"] = "block"
    """What a token of a complete block sees of it, with block-causal attention: all of it, or the tokens up to itself."""

    def __post_init__(self) -> None:
        if self.attention == "block_causal" and (self.block_size is None or self.block_size < 1):
            raise ConfigError(
                f"a block-causal drafter was given the block size {self.block_size}; give the size it was trained with."
            )

    def block_end(self, end: int) -> int:
        """The end of the block in which position `end - 1` lies; `end` itself where there are no blocks."""
        if self.block_size is None or self.attention == "bidirectional":
            return end
        return -(-end // self.block_size) * self.block_size

    def complete(self, length: int) -> int:
        """Leading positions of `length` committed ones whose blocks are all committed."""
        return 0 if self.block_size is None else length // self.block_size * self.block_size

    def settled(self, length: int) -> int:
        """Leading positions of `length` committed ones that no later token can change, and no later row is read from.

        Complete blocks; of shifted drafters, the one with the last committed position is left out, since the first draft
        token is predicted there.
        """
        return self.complete(length - self.shift)
