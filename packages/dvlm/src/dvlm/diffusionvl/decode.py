"""Decoding with DiffusionVL (arXiv 2512.15713, section 3.3): blocks left to right, every token of a block denoised."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.errors import ConfigError, DataError
from ar_core.sampling import Sampler

from ..settings import Settings

__all__ = ["DiffusionVLDecodeConfig", "generate"]


@dataclass(frozen=True, kw_only=True)
class DiffusionVLDecodeConfig:
    """How a converted checkpoint generates.

    The published code is `commit="separate", whole_last_block=True, stop_together=True`, and on route 1 `confidence="drawn"`. Not
    kept from it: masks are told by a list of their own and not by comparing embeddings, so that M is never generated and no block
    is left out of the cache; prompts of a batch may differ in length; an output ends at its stop token and holds no masks.

    Raises:
        ConfigError: a value is out of range, or two contradict each other.
    """

    mask_id: int
    """M: 151671 in the published checkpoints. No default: a wrong id would go unnoticed."""

    diffusion_block_size: int = 8
    """D (`bd3lm_block_size`): tokens of a block, counted from the first token of the prompt. Paper: 8."""

    steps: int | None = None
    """S: passes that a block is spread over; pass i reveals at least D // S tokens, one more while i < D mod S, and at least one.
    None: D (paper), a token a pass."""

    strategy: Literal["static", "dynamic"] = "static"
    """`static` reveals the most confident tokens that `steps` asks for (published: low_confidence_static); `dynamic` also all whose
    confidence is above the threshold (low_confidence_dynamic)."""

    threshold: float = 0.85
    """tau of `dynamic`. Published code: 0.85; the paper sweeps 0.2 to 1."""

    confidence: Literal["raw", "drawn"] = "raw"
    """At a positive temperature, the probability of a drawn token in the softmax at temperature 1 without filters (published on
    route 2), or in the distribution that it was drawn from (published on route 1). The same when greedy."""

    commit: Literal["fused", "separate"] = "fused"
    """A finished block is stored by the first pass over the next one, or by a pass of its own (published). The output is the
    same; `fused` saves one pass for every block but the last."""

    clean: Literal["block", "token"] = "block"
    """What finished tokens see: their block and all before it, or the tokens up to themselves (models trained with `clean: token`,
    which `commit: separate` goes with)."""

    whole_last_block: bool = False
    """Published: the block that holds token N is denoised to its end, and what is behind N left out of the output."""

    stop_together: bool = False
    """Published: a stop token in any row ends all rows at the end of its block. Changes outputs of batches, for the worse; prompts
    must then have one length. Outputs are cut, but rows run on to their own ends: passes behind the cut are run, and count in the
    statistics, which makes them more passes a token than the published code takes."""

    batch_size: int | None = None
    """Rows decoded at a time; prompts beyond it take the place of rows that finish. None: all."""

    def __post_init__(self) -> None:
        for name in ("strategy", "confidence", "clean"):
            allowed = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(allowed)}")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"steps is {self.steps}, but a block takes at least 1 pass: give 1 or more")
        self.policy()

    @staticmethod
    def of_settings(settings: Settings) -> dict[str, Any]:
        """The settings that a converted checkpoint decides.

        Raises:
            ConfigError: the checkpoint is an autoregressive one.
        """
        if settings.diffusion is None:
            raise ConfigError(
                "the checkpoint is autoregressive and names no mask id, so it cannot denoise: decode it with method=ar, or train it with "
                "the recipe diffusionvl first"
            )
        found = settings.diffusion
        block = {"mask_id": found.mask_id, "diffusion_block_size": found.block_size}
        return {**block, "clean": found.clean, "commit": "fused" if found.clean == "block" else "separate"}

    def policy(self) -> BlockPolicy:
        """These settings for the block decoder: absolute grid, unshifted logits, all tokens denoised."""
        return BlockPolicy(
            block_size=self.diffusion_block_size,
            mask_id=self.mask_id,
            threshold=self.threshold if self.strategy == "dynamic" else math.inf,
            strict=True,
            confidence=self.confidence,
            steps=self.steps,
            grid="absolute",
            context="block_causal" if self.clean == "block" else "causal",
            shift=False,
            first_token="denoise",
            commit=self.commit,
            whole_last_block=self.whole_last_block,
        )


def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    config: DiffusionVLDecodeConfig,
    *,
    stop: StopRule,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Generate from ragged prompts; arguments, output and errors of `ar_core.block_diffusion.decode_blocks`.

    Args:
        backbone: the converted model; with images, a :class:`dvlm.decoding.VisionBackbone`.
        prompts: token ids of each row.
        config: D, S and the rest.
        stop: stop ids (published: 151645) and strings, N.
        sampler: default greedy, as published.
        seed: of the rows' random streams.
        on_token: called with a row and its newly final tokens, in order.
        trace: record which pass fixed which token.

    Raises:
        DataError: also where `stop_together` meets prompts of several lengths, or a stream of several rows.
    """
    together = config.stop_together and len(prompts) > 1
    if together and (on_token is not None or len(set(map(len, prompts))) > 1):
        raise DataError(
            "stop_together needs prompts of one length, and outputs that are not streamed: set it to false, which ends each row by itself"
        )
    decoded = decode_blocks(
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
    if not together:
        return decoded
    return _ended_together(decoded, len(prompts[0]) - stop.keep_stop, len(prompts[0]), config.diffusion_block_size)


def _ended_together(decoded: Decoded, offset: int, prompt_length: int, block_size: int) -> Decoded:
    """Every row cut where the first block ends in which a row stopped; rows do not see each other, so no pass has to be repeated.

    Args:
        decoded: with rows that ended by themselves.
        offset: from an output's length to the position of its stop token.
        prompt_length: P of all rows.
        block_size: D.
    """
    stops = [offset + len(row) for row, reason in zip(decoded.tokens, decoded.finish) if reason == "stop_id"]
    if not stops:
        return decoded
    last = min(stops)
    room = last - last % block_size + block_size - prompt_length
    finish = ["length" if len(row) > room else reason for row, reason in zip(decoded.tokens, decoded.finish)]
    tokens = [row[:room] for row in decoded.tokens]
    return replace(
        decoded, tokens=tokens, finish=finish, stats=replace(decoded.stats, generated=[len(row) for row in tokens])
    )
