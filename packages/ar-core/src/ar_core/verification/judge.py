"""The verifier's own tokens at every place of a pass: what drafts are held against.

Source: speculative sampling (arXiv 2211.17192, 2302.01318) for the ratio rule; comparison with draws of the verifier is
ours.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ar_core.decoding import Backbone, check_sound, pick, sound_or_negative
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler, invert
from ar_core.verification.draft import Draft
from ar_core.verification.row import Row

__all__ = ["Acceptance", "Judged", "densities_used", "judge"]

Acceptance: TypeAlias = Literal["lossless", "paper_l2r_biased"]
"""Which rule judges drafts at a positive temperature; see :func:`ar_core.verification.speculative`."""

Judged: TypeAlias = tuple[list[list[int]], list[list[float]]]
"""For each row the picked tokens, and their confidences or nothing."""


def densities_used(draft: Draft, sampler: Sampler, acceptance: Acceptance) -> Tensor | None:
    """The densities [n, V] by which the ratio rule judges a draft; ``None``: its tokens are compared with draws."""
    if sampler.greedy:
        return None
    if acceptance == "paper_l2r_biased" and draft.left_to_right is not None:
        return draft.left_to_right
    return draft.densities


def judge(
    backbone: Backbone,
    hidden: Tensor,
    sampler: Sampler,
    rows: Sequence[Row],
    drafts: Sequence[Draft],
    *,
    acceptance: Acceptance,
    with_confidences: bool,
) -> Judged:
    """Pick a token behind each row's newest committed one and behind each of its draft's: one read on the host.

    Where a draft is deterministic, the pick at depth d is a draw from the verifier's distribution p with the row's d-th
    number, the same for all places of that depth: what the autoregressive loop would draw there. Where a draft was drawn
    from densities q, the pick is the drafted token x if u < p(x)/q(x), and otherwise a draw from (p − q)+ (arXiv
    2211.17192, equation 1); each place has two numbers of its own.

    Args:
        backbone: whose head gives the logits.
        hidden: [P, C] at these places, row by row, the newest committed token first.
        sampler: how a token is chosen.
        rows: whose numbers are used; none are spent.
        drafts: one for each row.
        acceptance: which densities count.
        with_confidences: also give the probability of each pick in the verifier's distribution.

    Raises:
        ConfigError: densities do not have V columns.
        NumericsError: logits are not numbers.
    """
    if sampler.greedy:
        sound, confidences = pick(backbone, hidden, sampler, with_confidences=with_confidences)
    else:
        logits = backbone.head(hidden)
        probabilities = sampler.filtered(logits).softmax(-1)
        used = [densities_used(draft, sampler, acceptance) for draft in drafts]
        tokens = _draw(probabilities, rows, drafts, used)
        confidences = probabilities.gather(-1, tokens[:, None])[:, 0] if with_confidences else None
        sound = sound_or_negative(tokens, logits)
    if confidences is None:
        numbers, sure = sound.tolist(), []
    else:
        # Ids are exact in float64, so that both come in one transfer.
        numbers, sure = torch.stack([sound.double(), confidences.double()]).tolist()
    check_sound(numbers)
    lengths = [len(draft) + 1 for draft in drafts]
    spans = [slice(end - length, end) for end, length in zip(accumulate(lengths), lengths, strict=True)]
    return [[int(number) for number in numbers[span]] for span in spans], [sure[span] for span in spans]


def _draw(
    probabilities: Tensor, rows: Sequence[Row], drafts: Sequence[Draft], densities: Sequence[Tensor | None]
) -> Tensor:
    """Tokens int64 [P] from the verifier's distributions [P, V] and the rows' numbers."""
    numbers: list[Tensor] = []
    chances: list[Tensor] = []
    drawn: list[int] = []
    begin = 0
    for row, draft, density in zip(rows, drafts, densities, strict=True):
        if density is not None:
            own = row.numbers(2 * len(draft) + 2)
            numbers.extend(own[1::2])
            chances.extend(own[0:-2:2])
            drawn.extend(range(begin, begin + len(draft)))
        elif draft.parents is None:
            numbers.extend(row.numbers(len(draft) + 1))
        else:
            depths = [0, *draft.depths()]
            own = row.numbers(max(depths) + 1)
            numbers.extend(own[depth] for depth in depths)
        begin += len(draft) + 1
    uniforms = torch.cat(numbers).to(probabilities.device)
    tokens = invert(probabilities, uniforms)
    if not drawn:
        return tokens
    places = torch.tensor(drawn, device=probabilities.device)
    q = torch.cat([_checked(density, probabilities) for density in densities if density is not None])
    drafted = torch.tensor(
        [
            token
            for draft, density in zip(drafts, densities, strict=True)
            if density is not None
            for token in draft.tokens
        ],
        device=probabilities.device,
    )
    p = probabilities[places]
    residual = (p - q).clamp(min=0)
    # Where p and q are equal, a rejection is rounding, and p is what is left to draw from.
    residual = torch.where(residual.sum(-1, keepdim=True) > 0, residual, p)
    rejected = invert(residual, uniforms[places])
    ratio = torch.cat(chances).to(probabilities.device) * q.gather(-1, drafted[:, None])[:, 0].double()
    accepted = ratio < p.gather(-1, drafted[:, None])[:, 0].double()
    return tokens.index_copy(0, places, torch.where(accepted, drafted, rejected))


def _checked(density: Tensor, probabilities: Tensor) -> Tensor:
    if density.shape[1] != probabilities.shape[1]:
        raise ConfigError(
            f"A draft was given densities over {density.shape[1]} ids, and the model has {probabilities.shape[1]}; give a "
            "probability to each of the model's ids."
        )
    return density.to(probabilities)
