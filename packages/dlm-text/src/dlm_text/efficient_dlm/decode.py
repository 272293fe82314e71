"""Decoding with Efficient-DLM (arXiv 2512.14067): blocks from the prompt's end on, tokens of a block in parallel."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.config import refuse_unread, require_positive, require_types
from ar_core.decoding import Backbone, Decoded, OnToken, StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler
from ar_core.verification import speculative

from .self_speculation import SelfSpeculation

__all__ = ["EfficientDLMDecodeConfig", "Mode", "generate"]

Mode = Literal["diffusion", "autoregressive", "self_speculation"]
"""How a checkpoint is decoded: in blocks, as an autoregressive model, or drafting in blocks what it verifies as one."""


@dataclass(frozen=True, kw_only=True)
class EfficientDLMDecodeConfig:
    """How a converted checkpoint generates.

    The released `generate` is `context="bidirectional"`, and its `threshold=None` is `threshold=1` with `steps` here
    (its own `steps` counts the passes of all blocks). Not kept from it: its lengths need not divide into blocks or steps; rows of
    a batch stop each by itself and hold no mask token; a prompt may have any length; nothing is computed behind the last
    block that is needed.

    Raises:
        ConfigError: a value is of another type or out of range, two contradict each other, or one is given that the mode never uses.
    """

    mask_id: int
    """M, the id of the mask token: 151662 in the published checkpoints. No default: a wrong id would go unnoticed."""

    mode: Mode = "diffusion"
    """`diffusion`: block by block. For hybrids (`clean="token"` in training) also `autoregressive`, one token a pass, and
    `self_speculation`, drafts by the diffusion mode and verification by the autoregressive one: the output of the latter,
    in fewer passes."""

    diffusion_block_size: int = 32
    """L': tokens of a block, or of a draft. Paper, appendix A: 32 (4B, 8B), 16 (1.5B). It may differ from that of training."""

    threshold: float = 0.9
    """tau: a masked position is accepted at this confidence, and the most confident one in any case; 1: one token a pass.
    The paper's dial between accuracy and tokens per forward. Confidence is a token's probability at temperature 1 whatever
    the sampler's is, as in the released code."""

    steps: int | None = None
    """Passes that a block is spread over: pass i accepts at least L' // steps positions (+ 1 while i < L' mod steps). None:
    at least one."""

    grid: Literal["prompt", "absolute"] = "prompt"
    """Where blocks begin: at the end of the prompt, as published, or at multiples of L' from position 0, as in training."""

    context: Literal["block_causal", "bidirectional", "causal", "whole"] = "block_causal"
    """What finished tokens see: blocks up to their own, as in training; the same with the prompt as one single block
    (released code); tokens up to themselves (hybrids); or everything, masks up to N included, without any cache (models
    trained with the pattern `bidirectional`, for which the others are approximate)."""

    first_token: Literal["denoise", "commit"] = "denoise"
    """The first token of a block is denoised like the others, or it is the next-token prediction of the pass that stored the
    tokens before it (hybrids, or `token_shift`)."""

    token_shift: bool = False
    """For models trained with it. Then `first_token` is `commit` (but with the context `whole`): that prediction is accepted in any case, where the released
    code lets it compete with those of the block."""

    commit: Literal["separate", "fused"] = "separate"
    """A finished block is stored by a pass of its own (released code), or by the first pass over the next block. With
    `first_token="denoise"` the output is the same, in one pass less for every block but the last."""

    batch_size: int | None = None
    """Rows decoded at a time in diffusion mode; prompts beyond it take the place of rows that finish. None: all."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "batch_size")
        if self.mode != "diffusion" and self.context != "causal":
            raise ConfigError(
                f"mode is {self.mode!r} and context {self.context!r}, but only hybrids, whose finished tokens see what is "
                "before them, can be read one token at a time: set context to causal if the checkpoint is one, or mode to "
                "diffusion"
            )
        if self.mode == "self_speculation" and self.diffusion_block_size < 2:
            raise ConfigError(
                f"diffusion_block_size is {self.diffusion_block_size}, which leaves no place for a draft: give 2 or more"
            )
        unread = ("threshold", "steps", "grid", "commit", "batch_size")
        # Models with token_shift come with the first token that their blocks need, whatever the mode.
        refuse_unread(self, "mode", ("diffusion",), *unread, *(() if self.token_shift else ("first_token",)))
        self._blocks()

    @staticmethod
    def of_checkpoint(config: Any, tokenizer: Any) -> dict[str, Any]:
        """The settings that a converted checkpoint decides.

        Raises:
            CheckpointError: the checkpoint is not converted, or names no mask token.
        """
        from .checkpoint import Conversion

        del tokenizer
        found = Conversion.of_checkpoint(config, config.name_or_path or config.model_type)
        hybrid = found.clean == "token" or found.attention_pattern == "autoregressive"
        whole = found.attention_pattern == "bidirectional"
        # Trained without noise, a model has no mode but one.
        only: dict[str, Any] = {"mode": "autoregressive"} if found.attention_pattern == "autoregressive" else {}
        return {
            **only,
            "mask_id": found.mask_id,
            "diffusion_block_size": found.diffusion_block_size,
            "context": "causal" if hybrid else "whole" if whole else "block_causal",
            "token_shift": found.token_shift,
            "first_token": "commit" if found.token_shift and not whole else "denoise",
        }

    @property
    def draft_length(self) -> int:
        """Tokens that a verifying pass holds beside the last one."""
        return self.diffusion_block_size - 1 if self.mode == "self_speculation" else 0

    def policy(self) -> BlockPolicy | None:
        """These settings for the block decoder; None for the modes that have no blocks."""
        return self._blocks() if self.mode == "diffusion" else None

    def _blocks(self) -> BlockPolicy:
        return BlockPolicy(
            block_size=self.diffusion_block_size,
            mask_id=self.mask_id,
            threshold=self.threshold,
            steps=self.steps,
            grid=self.grid,
            context=self.context,
            shift=self.token_shift,
            first_token=self.first_token,
            commit=self.commit,
            confidence="raw",
        )


def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    config: EfficientDLMDecodeConfig,
    *,
    stop: StopRule,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Generate from ragged prompts; output and errors of `decode_blocks`, `autoregressive` or `speculative`, by the mode.

    Args:
        backbone: the converted model.
        prompts: token ids of each row, chat template applied.
        config: mode, L', tau and the rest.
        stop: stop ids (published: 151643, 151645) and strings, N.
        sampler: default greedy; published: temperature 0.7. M is never drawn.
        seed: of the rows' random streams.
        on_token: called with a row and its newly final tokens, in order.
        trace: record which pass fixed which token.

    Returns:
        Tokens and statistics; passes that drafted count as "draft", beside those of the verifier.
    """
    sampler = sampler or Sampler()
    policy = config.policy()
    if policy is not None:
        return decode_blocks(
            backbone,
            prompts,
            policy,
            stop=stop,
            sampler=sampler,
            seed=seed,
            batch_size=config.batch_size,
            on_token=on_token,
            trace=trace,
        )
    sampler = replace(sampler, banned_ids=(*sampler.banned_ids, config.mask_id))
    if config.mode == "autoregressive":
        return autoregressive(backbone, prompts, stop=stop, sampler=sampler, seed=seed, on_token=on_token, trace=trace)

    proposer = SelfSpeculation(
        backbone, mask_id=config.mask_id, block_size=config.diffusion_block_size, shift=config.token_shift
    )
    # No fall-back: it would shorten drafts that are paid for by then.
    decoded = speculative(
        backbone,
        prompts,
        proposer,
        stop=stop,
        sampler=sampler,
        seed=seed,
        fallback=False,
        on_token=on_token,
        trace=trace,
    )
    # The loop has timed the proposer already.
    return replace(decoded, stats=decoded.stats + replace(proposer.stats, seconds=Counter()))
