"""Log-likelihoods under a block-diffusion model, under the very masks that decoding uses.

A block-diffusion model gives p(x_i | a partly masked block, the clean blocks before it), not p(x_i | x_<i), so that the
likelihood of a text has to be put together from several passes. One pass over [noised | clean] (2L tokens) serves all blocks:
the noised half holds each block of the continuation with some tokens masked, the clean half gives each its context.

Source: the bound: block diffusion (BD3-LM, arXiv 2503.09573, section 3); the chain rule inside a block is ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.corruption import SampleRng
from ar_core.decoding import Backbone, LogLikelihood
from ar_core.decoding.likelihood import check_sequence
from ar_core.errors import ConfigError
from ar_core.masks import Mask, Tokens, block_causal, block_diffusion

from .policy import BlockPolicy

__all__ = ["chain_log_likelihood", "first_token_log_likelihood", "nelbo_log_likelihood"]


class _Scored:
    """A context and a continuation laid out in the policy's blocks.

    The last block is filled up with M, as it is when it is decoded. Where the policy takes the first token of a block from the
    pass that stored the block before it, that token is read from the clean half and is never masked.
    """

    def __init__(
        self, backbone: Backbone, context: Sequence[int], continuation: Sequence[int], policy: BlockPolicy
    ) -> None:
        if policy.context == "whole":
            raise ConfigError(
                "Likelihoods were asked for with context='whole', where no block has a context of its own; set context to "
                "'bidirectional', which is approximate for such a model."
            )
        self.backbone, self.policy = backbone, policy
        self.ids = [*context, *continuation]
        self.begin, self.end = len(context), len(self.ids)
        self.start = policy.first_block(self.begin)
        blocks = -((self.start - self.end) // policy.block_size)
        self.filled = self.start + blocks * policy.block_size
        check_sequence(backbone, context, continuation, self.filled)
        self.by_commit = [
            position
            for position in range(self.begin, self.end)
            if policy.first_token == "commit" and (position - self.start) % policy.block_size == 0
        ]
        self.maskable = [
            [
                p
                for p in range(max(first, self.begin), min(first + policy.block_size, self.end))
                if p not in self.by_commit
            ]
            for first in range(self.start, self.filled, policy.block_size)
        ]
        """Positions that may be masked, block by block."""
        self._mask = self._attention()

    def logs(self, masked: Sequence[int], wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """One pass: log p of the true token at each wanted position, and whether it is the most probable one."""
        hidden_positions = set(masked)
        noised = [
            self.policy.mask_id if position >= self.end or position in hidden_positions else self.ids[position]
            for position in range(self.start, self.filled)
        ]
        device = self.backbone.device
        sequence = torch.tensor([[*noised, *self.ids]], device=device)
        positions = torch.tensor([[*range(self.start, self.filled), *range(self.end)]], device=device)
        hidden = self.backbone.hidden(sequence, positions=positions, mask=self._mask)[0]
        rows = torch.tensor([self._row(position) for position in wanted], device=device)
        logits = self.backbone.head(hidden[rows])
        logs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        targets = torch.tensor([self.ids[position] for position in wanted], device=device)
        return logs.gather(1, targets[:, None])[:, 0].double(), logs.argmax(-1) == targets

    def _row(self, position: int) -> int:
        """Where in [noised | clean] the logits for a position stand."""
        if position in self.by_commit:
            return self.filled - self.start + position - 1
        return position - self.start - self.policy.shift

    def _attention(self) -> Mask:
        device = self.backbone.device
        positions = torch.tensor([*range(self.start, self.filled), *range(self.end)], device=device)
        noised = self.filled - self.start
        stream = torch.zeros(len(positions), dtype=torch.long, device=device)
        stream[:noised] = 1
        blocks = torch.div(positions - self.start, self.policy.block_size, rounding_mode="floor")
        if self.policy.context == "bidirectional":
            blocks = blocks.clamp(min=-1)
        rule = block_diffusion(clean="token" if self.policy.context == "causal" else "block")
        return Mask.self_attention(rule, Tokens(stream=stream, block=blocks, position=positions))


@torch.no_grad()
def chain_log_likelihood(
    backbone: Backbone, context: Sequence[int], continuation: Sequence[int], policy: BlockPolicy
) -> LogLikelihood:
    """Chain rule from left to right inside each block: the suffix of the block masked, then revealed token by token.

    Estimator (b) of Efficient-DLM's likelihood tasks. The product of the model's own conditionals along this order is a proper
    likelihood (of the sampler that reveals one token a pass, left to right), and at D = 1 the only one. It takes D passes, one
    for each offset in a block, each of them over all blocks at once.

    Args:
        backbone: the converted model.
        context: P >= 1 ids.
        continuation: n >= 1 ids.
        policy: block size, grid, alignment and visibility.

    Raises:
        DataError: one of the two is empty, or they do not fit the context with the last block filled up.
        ConfigError: the policy's context is `whole`.
    """
    scored = _Scored(backbone, context, continuation, policy)
    total, greedy = 0.0, True
    for offset in range(policy.block_size):
        wanted = [p for p in range(scored.begin, scored.end) if (p - scored.start) % policy.block_size == offset]
        if not wanted:
            continue
        masked = [p for block in scored.maskable for p in block if (p - scored.start) % policy.block_size >= offset]
        logs, right = scored.logs(masked, wanted)
        total += float(logs.sum())
        greedy = greedy and bool(right.all())
    return LogLikelihood(total, len(continuation), greedy)


@torch.no_grad()
def nelbo_log_likelihood(
    backbone: Backbone,
    context: Sequence[int],
    continuation: Sequence[int],
    policy: BlockPolicy,
    *,
    samples: int = 32,
    seed: int = 0,
) -> LogLikelihood:
    """Monte-Carlo estimate of the lower bound of log p that block diffusion is trained on (minus the NELBO).

    Estimator (a) of Efficient-DLM's likelihood tasks. For a block with n maskable tokens, E over k ~ U{1..n} and a uniform
    subset of k of them of (n / k) sum of log p(x_i | the rest): the bound of the continuous rate t integrated exactly over the
    number of masks, as LLaDA does, which has less variance than drawing t. Unbiased for any number of samples, one pass each
    over all blocks; at D = 1 (without first tokens from the commit pass) every sample is exact and equals the chain.
    ``greedy`` is the chain's, and costs its D passes more.

    Args:
        backbone: the converted model.
        context: P >= 1 ids.
        continuation: n >= 1 ids.
        policy: block size, grid, alignment and visibility.
        samples: K >= 1.
        seed: of the masks: sample s of block b draws from its own stream.

    Raises:
        DataError: see :func:`chain_log_likelihood`.
        ConfigError: ``samples`` < 1, or the policy's context is `whole`.
    """
    if samples < 1:
        raise ConfigError(f"{samples} samples of a likelihood were asked for; give at least 1.")
    scored = _Scored(backbone, context, continuation, policy)
    rng = SampleRng(seed)
    total = 0.0
    for sample in range(samples):
        weights = dict.fromkeys(scored.by_commit, 1.0)
        masked: list[int] = []
        for number, block in enumerate(scored.maskable):
            if not block:
                continue
            generator = rng.row(sample, f"nelbo block {number}")
            count = 1 + int(torch.randint(len(block), (), generator=generator))
            chosen = [block[i] for i in torch.randperm(len(block), generator=generator)[:count].tolist()]
            masked += chosen
            weights |= dict.fromkeys(chosen, len(block) / count)
        logs, _ = scored.logs(masked, list(weights))
        total += float(logs @ torch.tensor(list(weights.values()), dtype=torch.float64, device=logs.device))
    chain = chain_log_likelihood(backbone, context, continuation, policy)
    return LogLikelihood(total / samples, len(continuation), chain.greedy)


@torch.no_grad()
def first_token_log_likelihood(
    backbone: Backbone, context: Sequence[int], continuation: Sequence[int], policy: BlockPolicy, *, end_id: int
) -> LogLikelihood:
    """log p of the first token of the continuation alone, its own followers visible: the protocol of Fast-dLLM v2.

    Published evaluation code of arXiv 2509.26328: mask the first token of the continuation only, put the end-of-sequence token
    behind it, fill up with M to a multiple of D (a whole block if it is one already), and read the logits that predict the
    masked position in one block-causal pass. (No token before it sees that whole block, so it is left out here.) It is a score for answers of one token (A, B, C, D), no likelihood of longer
    ones: what follows the masked token in its block is seen.

    Args:
        backbone: the converted model.
        context: P >= 1 ids.
        continuation: n >= 1 ids.
        policy: D and the alignment of logits; blocks are counted from position 0.
        end_id: the end-of-sequence token.

    Raises:
        DataError: one of the two is empty, or they do not fit the context with the last block filled up.
    """
    size = policy.block_size
    ids = [*context, policy.mask_id, *continuation[1:], end_id]
    ids += [policy.mask_id] * (-len(ids) % size)
    check_sequence(backbone, context, continuation, len(ids))
    positions = torch.arange(len(ids), device=backbone.device)
    mask = Mask.self_attention(block_causal(), Tokens(block=positions // size))
    hidden = backbone.hidden(torch.tensor([ids], device=backbone.device), positions=positions[None], mask=mask)
    logits = backbone.head(hidden[0, len(context) - policy.shift])
    logs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    return LogLikelihood(float(logs[continuation[0]]), 1, int(logs.argmax()) == continuation[0])
