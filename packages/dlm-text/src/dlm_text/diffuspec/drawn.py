"""Drafts that are drawn from the drafter's marginals instead of searched: what the ratio rule may judge.

Source: ours, in the place of equations 7 and 8 of DiffuSpec (arXiv 2510.02358).
"""

from collections.abc import Collection, Sequence

import torch
from ar_core.sampling import invert
from ar_core.verification import Draft
from torch import Generator, Tensor

__all__ = ["draw"]


def draw(
    log_probs: Tensor,
    lengths: Sequence[int],
    stop_ids: Collection[int],
    generators: Sequence[Generator],
    *,
    temperature: float,
) -> list[tuple[Draft, int]]:
    """Draw every position of a draft from softmax(ℓ^dlm_i / T_d), independently; one read on the host.

    The density of a token given those before it is the marginal itself, so that accepting by min(1, p / q) is exactly
    lossless, with no pass of the drafter over the chosen tokens.

    Args:
        log_probs: ℓ^dlm `[R, k, V]`.
        lengths: k of each row, at least 1.
        stop_ids: E; a draft ends with the first that is drawn.
        generators: one for each row, none of the verifier's.
        temperature: T_d > 0.

    Returns:
        Of each row the draft with its densities, and L^gen, the tokens before a stop id.
    """
    rows, places, size = log_probs.shape
    densities = (log_probs / temperature).softmax(-1)
    uniforms = [torch.rand(length, dtype=torch.float64, generator=one) for length, one in zip(lengths, generators)]
    padded = torch.nn.utils.rnn.pad_sequence(uniforms, batch_first=True)
    numbers = padded.to(log_probs.device)
    drawn = invert(densities.view(rows * places, size), numbers.flatten()).view(rows, places).tolist()
    found = []
    for tokens, length, own in zip(drawn, lengths, densities, strict=True):
        before = next((i for i, token in enumerate(tokens[:length]) if token in stop_ids), length)
        kept = min(before + 1, length)
        found.append((Draft(tokens[:kept], densities=own[:kept]), before))
    return found
