"""What block decoders differ in, as data."""

from dataclasses import dataclass
from typing import Literal

from ar_core.config import require_types
from ar_core.errors import ConfigError

__all__ = ["BlockPolicy"]

Grid = Literal["absolute", "prompt"]
FirstToken = Literal["commit", "denoise"]
Context = Literal["block_causal", "bidirectional", "causal", "whole"]
Commit = Literal["separate", "fused"]
Confidence = Literal["drawn", "raw"]


@dataclass(frozen=True, kw_only=True)
class BlockPolicy:
    """How blocks of masked tokens are laid out, denoised and committed.

    Published settings (D, S and thresholds aside):

    | knob | Fast-dLLM v2 | Efficient-DLM | DiffusionVL |
    |---|---|---|---|
    | `grid` | absolute | prompt | absolute |
    | `context` | block_causal | bidirectional (causal for hybrids) | block_causal |
    | `shift` | True | False | False |
    | `first_token` | commit | denoise | denoise |
    | `steps` | None | None with a threshold, else given | given |
    | `confidence` | drawn | raw | drawn or raw |
    | `whole_last_block` | False | False | True |

    Fast-dLLM v2: arXiv 2509.26328; Efficient-DLM: arXiv 2512.14067; DiffusionVL: arXiv 2512.15713.
    """

    block_size: int
    """D, tokens of a block, at least 1."""
    mask_id: int
    """Id of the mask token M; never emitted."""
    sub_block_size: int | None = None
    """S, tokens of the scheduling window inside a block, a divisor of D; None: the whole block. All D positions are
    computed and visible, but only positions of the leftmost sub-block that still holds a mask may be accepted."""
    threshold: float = 0.9
    """tau: a masked position of the window is accepted if its confidence is at least this. 1 or more: none but the
    floor of `steps`; minus infinity: the whole window."""
    strict: bool = False
    """Parity: accept on confidence > tau rather than >=, as published for Fast-dLLM v2 and DiffusionVL."""
    confidence: Confidence = "drawn"
    """At a positive temperature, a token's probability in the distribution that it was drawn from, or in the softmax at
    temperature 1 without filters. The same at temperature 0; M has no share in either."""
    steps: int | None = None
    """Passes that a block is spread over: pass i accepts at least D // steps (+ 1 while i < D mod steps) of the most
    confident positions. None: at least the single most confident one."""
    grid: Grid = "absolute"
    """Where blocks begin: at multiples of D from position 0, so that the first block may hold the prompt's tail, or
    at the end of the prompt."""
    context: Context = "block_causal"
    """What finished tokens see: blocks up to their own; the same, but the prompt's prefilled part as one single block
    (parity with a generic sampler of Efficient-DLM); or tokens up to themselves (models with a token-causal clean
    half). `whole`: everything, the masks up to the row's end included, and so do the masks; each pass computes the whole
    row anew and nothing is stored (models trained bidirectionally, for which the others are approximate)."""
    shift: bool = True
    """True: the logits at position i-1 predict token i, as in the autoregressive base. False: those at i do."""
    first_token: FirstToken = "commit"
    """The first token of a block is the autoregressive prediction of the pass that stored the tokens before it, or
    it is denoised like the others."""
    commit: Commit = "separate"
    """A finished block is stored by a pass of its own, or by the pass that first denoises the next block; see
    `decode_blocks`."""
    sub_block_cache: bool = False
    """Refresh only S slots of the block in passes that need no more (DualCache); approximate, because the other
    slots of the block keep keys and values of an earlier pass."""
    whole_blocks: bool = False
    """Parity: `max_new_tokens` N counts blocks, N // D of them, plus the first token of the block behind the last,
    instead of tokens."""

    whole_last_block: bool = False
    """Parity: the last block is denoised to its end, though only N tokens of it and the blocks before are output. The tokens
    behind N then compete for the most confident place, and are seen once revealed. Published for DiffusionVL."""

    def __post_init__(self) -> None:
        require_types(self)
        if self.block_size < 1:
            raise ConfigError(f"The block size is {self.block_size}; a block holds at least 1 token.")
        if self.sub_block_size is not None and (self.sub_block_size < 1 or self.block_size % self.sub_block_size):
            raise ConfigError(
                f"The sub-block size is {self.sub_block_size}, which does not divide the block size {self.block_size}; "
                f"give a divisor of it."
            )
        if self.threshold != self.threshold:
            raise ConfigError("The threshold is not a number; give a confidence between 0 and 1.")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(
                f"steps is {self.steps}; a block takes at least 1 pass, or give None for one token a pass."
            )
        if self.mask_id < 0:
            raise ConfigError(f"The mask id is {self.mask_id}; a token id is not negative.")
        if self.context == "whole" and (self.first_token, self.commit, self.sub_block_cache) != (
            "denoise",
            "separate",
            False,
        ):
            raise ConfigError(
                f"context='whole' stores nothing that first_token={self.first_token!r}, commit={self.commit!r} and "
                f"sub_block_cache={self.sub_block_cache} could use; set them to 'denoise', 'separate' and False."
            )
        if self.shift and self.first_token == "denoise" and self.context != "whole":
            raise ConfigError(
                "shift=True with first_token='denoise' leaves the first token of a block without logits; set "
                "first_token='commit' or shift=False."
            )
        if not self.shift and self.first_token == "commit" and self.context != "causal":
            raise ConfigError(
                "shift=False with first_token='commit' needs a model whose finished tokens are autoregressive; set "
                "context='causal' or first_token='denoise'."
            )
        if self.whole_last_block and self.whole_blocks:
            raise ConfigError(
                "whole_last_block completes the block that holds token N and whole_blocks leaves it out; set one of them."
            )
        if self.context == "causal" and self.commit == "fused":
            raise ConfigError(
                "context='causal' with commit='fused' asks one pass for two masks; set commit='separate'."
            )

    @property
    def window(self) -> int:
        """S, or D where no sub-block size is given."""
        return self.sub_block_size or self.block_size

    def floor(self, passes: int) -> int:
        """Positions that pass number `passes` of a block (from 0) accepts at least."""
        if self.steps is None:
            return 1
        whole, rest = divmod(self.block_size, self.steps)
        return max(1, whole + (passes < rest))

    def first_block(self, prompt_length: int) -> int:
        """Position of the first block that holds generated tokens; the tokens before it are prefilled."""
        if self.grid == "prompt":
            return prompt_length
        return prompt_length - prompt_length % self.block_size

    def last_token(self, prompt_length: int, max_new_tokens: int) -> int:
        """Position (exclusive) at which a row of `prompt_length` tokens is full."""
        if not self.whole_blocks:
            return prompt_length + max_new_tokens
        end = self.first_block(prompt_length) + max_new_tokens // self.block_size * self.block_size
        return max(prompt_length, end + (self.first_token == "commit"))

    def denoised_end(self, prompt_length: int, last: int) -> int:
        """Position (exclusive) up to which a row is masked that is full at position `last`: that, or the end of its block."""
        if not self.whole_last_block:
            return last
        return last + (self.first_block(prompt_length) - last) % self.block_size

    def slots(self, prompt_length: int, max_new_tokens: int) -> int:
        """Slots of the KV cache that a row writes, its last block completed."""
        first = self.first_block(prompt_length)
        last = self.last_token(prompt_length, max_new_tokens) - 1
        if self.first_token == "commit" and (last - first) % self.block_size == 0 and not self.whole_last_block:
            # The pass that stores the tokens before it gives it, and no further pass runs.
            return last
        return first + ((last - first) // self.block_size + 1) * self.block_size
