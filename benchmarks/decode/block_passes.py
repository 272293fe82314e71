"""Passes of block decoders: denoise, sub-block, commit, fused."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from ar_core.block_diffusion import BlockPolicy
from ar_core.block_diffusion.passes import run_pass
from ar_core.block_diffusion.row import BlockRow
from ar_core.decoding import StopRule
from ar_core.hf import HFBackbone
from ar_core.sampling import Sampler
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig

from .passes import Build, Pass, Stage, draw_prompts

__all__ = ["efficient_dlm", "fast_dllm_v2"]


def fast_dllm_v2(size: int, accepted: Sequence[int] = (), *, sub_block: int = 8, fused: bool = False) -> Build:
    """The pass of Fast-dLLM v2 that comes when some passes of a block have accepted so many tokens.

    Args:
        size: D.
        accepted: tokens that each earlier pass of the block accepted at most; () is the first pass.
        sub_block: S; its cache is on, so that passes that need no more compute S tokens.
        fused: whether a finished block is committed together with the first pass of the next.
    """

    def policy(mask_id: int) -> BlockPolicy:
        config = FastDLLMv2DecodeConfig(
            mask_id=mask_id,
            diffusion_block_size=size,
            sub_block_size=sub_block,
            sub_block_cache=True,
            commit="fused" if fused else "separate",
        )
        return config.policy()

    return partial(_block_pass, policy, tuple(accepted))


def efficient_dlm(size: int, accepted: Sequence[int] = (), *, fused: bool = False) -> Build:
    """The same of Efficient-DLM, which predicts all of a block and has no sub-blocks."""

    def policy(mask_id: int) -> BlockPolicy:
        config = EfficientDLMDecodeConfig(
            mask_id=mask_id, diffusion_block_size=size, commit="fused" if fused else "separate"
        )
        blocks = config.policy()
        assert blocks is not None
        return blocks

    return partial(_block_pass, policy, tuple(accepted))


@torch.no_grad()
def _block_pass(
    policy_of: Callable[[int], BlockPolicy], accepted: tuple[int, ...], backbone: HFBackbone, context: int, batch: int
) -> Pass:
    policy: BlockPolicy = policy_of(backbone.vocab_size - 1)
    size = policy.block_size
    prompts = draw_prompts(backbone, context, batch)
    stop, greedy = StopRule(frozenset(), 2 * size), Sampler(banned_ids=(policy.mask_id,))
    rows = [BlockRow(row, prompt, stop, policy, torch.Generator()) for row, prompt in enumerate(prompts)]
    cache = backbone.new_cache(batch, context + 2 * size)
    fill = draw_prompts(backbone, context + 2 * size, batch)

    def run() -> None:
        run_pass(backbone, cache, rows, dict(enumerate(row.next_move() for row in rows)), policy, greedy)

    stages = []
    # The prefill first; what is accepted in it is forced.
    for count in (0, *accepted):
        move = rows[0].next_move()
        run()
        fed = [row.input(move, move.length) for row in rows]
        stages.append((move, fed))
        certain = [float(place < count) for place in range(len(move.targets))]
        for row, ids in zip(rows, fill, strict=True):
            row.apply(move, [ids[target] for target in move.targets], certain)
    move = rows[0].next_move()
    prefilled, fed = stages[0]
    blocks = torch.arange(prefilled.length) // size
    kept = [Stage(fed, blocks[:, None] >= blocks, prefilled.length)]
    if move.start > prefilled.length:
        # A part of a block: what lies before it has the keys and values of the last pass over the whole block.
        whole, fed = stages[-1]
        kept.append(
            Stage(fed, torch.ones(whole.length, context + whole.length, dtype=torch.bool), move.start - whole.start)
        )
    slots = torch.arange(move.start + move.length) // size
    return Pass(
        torch.no_grad()(run),
        kept,
        [row.input(move, move.length) for row in rows],
        move.reads(policy.shift),
        slots[move.start :, None] >= slots,
    )
