"""Decoding with Fast-dLLM v2 (arXiv 2509.26328, section 3.3): blocks left to right, tokens of a block in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.config import require_positive, require_types
from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.sampling import Sampler

__all__ = ["FastDLLMv2DecodeConfig", "generate"]


@dataclass(frozen=True, kw_only=True)
class FastDLLMv2DecodeConfig:
    """How a converted checkpoint generates.

    The published code is `strict_threshold=True, whole_blocks=True`. Not kept from it: at a positive temperature the
    first token of a block is drawn like all others, not the argmax; a prompt of exactly D tokens is seen; the mask
    token is never generated; a stop at the first token of a block ends the row.

    Raises:
        ConfigError: a value is of another type or out of range, or the sub-block size does not divide the block size.
    """

    mask_id: int
    """M, the id of the mask token: 151665 in the published checkpoints. No default: a wrong id would go unnoticed."""

    diffusion_block_size: int = 32
    """D (`bd_size`): tokens of a block. Paper section 4: 32. It may differ from that of training (paper: 2 to 32); at 1
    decoding is plain autoregression."""

    sub_block_size: int = 8
    """S: positions of a block that may be accepted at a time, left to right; divides D, or covers it if larger. Paper
    section 4: 8."""

    threshold: float = 0.9
    """tau: a masked position is accepted at this confidence, and the most confident one in any case. Accuracy tables of
    the paper: 1, one token per pass; its speed setting: 0.9."""

    sub_block_cache: bool = False
    """Compute S tokens instead of D in passes that need no more (the paper's DualCache): approximate."""

    commit: Literal["separate", "fused"] = "separate"
    """`separate`: a finished block is stored by a pass of its own, which also gives the first token of the next
    (published). `fused`: the same pass already denoises the next block. That is another algorithm, see
    `ar_core.block_diffusion.decode_blocks`: the next block's first sub-block is then predicted once while its first
    token is still masked. At tau >= 1 the output is that of `separate`."""

    batch_size: int | None = None
    """Rows decoded at a time; prompts beyond it take the place of rows that finish. None: all."""

    strict_threshold: bool = False
    """Published: accept on confidence > tau rather than >=."""

    whole_blocks: bool = False
    """Published: generate N // D blocks, the first of which may begin with the prompt's tail, and the first token of
    the block behind them, instead of exactly N tokens; if N < D, nothing (one token if D divides P)."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "batch_size")
        self.policy()

    @staticmethod
    def of_checkpoint(config: Any, tokenizer: Any) -> dict[str, int]:
        """The settings that a converted checkpoint decides: `mask_id`, `diffusion_block_size`, `sub_block_size`.

        Raises:
            CheckpointError: the checkpoint is not converted, or names no mask token.
        """
        from .checkpoint import decode_settings

        return decode_settings(config, tokenizer, config.name_or_path or config.model_type)

    def policy(self) -> BlockPolicy:
        """These settings for the block decoder: absolute grid, shifted logits, first tokens from the commit pass."""
        return BlockPolicy(
            block_size=self.diffusion_block_size,
            mask_id=self.mask_id,
            sub_block_size=min(self.sub_block_size, self.diffusion_block_size),
            threshold=self.threshold,
            strict=self.strict_threshold,
            grid="absolute",
            context="block_causal",
            shift=True,
            first_token="commit",
            commit=self.commit,
            sub_block_cache=self.sub_block_cache,
            whole_blocks=self.whole_blocks,
        )


def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    config: FastDLLMv2DecodeConfig,
    *,
    stop: StopRule,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Generate from ragged prompts; arguments, output and errors of `ar_core.block_diffusion.decode_blocks`.

    Args:
        backbone: the converted model.
        prompts: token ids of each row, chat template applied.
        config: D, S, tau and the rest.
        stop: stop ids (published: 151645) and strings, N.
        sampler: default greedy; published at a positive temperature: `top_p=0.95`.
        seed: of the rows' random streams.
        on_token: called with a row and its newly final tokens, in order.
        trace: record which pass fixed which token.
    """
    return decode_blocks(
        backbone,
        prompts,
        config.policy(),
        stop=stop,
        sampler=sampler,
        seed=seed,
        batch_size=config.batch_size,
        on_token=on_token,
        trace=trace,
    )
