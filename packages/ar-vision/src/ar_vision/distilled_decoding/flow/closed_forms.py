"""Where the flow needs no solver: codes on a line, and two codes anywhere.

N draws, V codes, Cv dimensions.

Source: ours.
"""

import torch
from torch import Tensor

__all__ = ["in_closed_form"]


def in_closed_form(noise: Tensor, log_probs: Tensor, codebook: Tensor) -> Tensor | None:
    """Return the codes of the draws, int64 [N]; None where there is no closed form (Cv and V are above 1 and 2).

    Args:
        noise: [N, Cv].
        log_probs: normalised, [N, V].
        codebook: [V, Cv].
    """
    if codebook.shape[1] == 1:
        return _on_a_line(noise[:, 0], log_probs, codebook[:, 0])
    if len(codebook) == 2:
        along = codebook[1] - codebook[0]
        length = along.norm()
        # Equal codes have no direction, and any order of them is a map.
        place = noise @ along / length if length > 0 else noise[:, 0]
        return _on_a_line(place, log_probs, torch.arange(2, device=noise.device))
    return None


def _on_a_line(place: Tensor, log_probs: Tensor, codes: Tensor) -> Tensor:
    """The monotone rearrangement: code number j in order, where the noise's own share Phi(place) falls into that of code j."""
    order = codes.argsort(stable=True)
    shares = log_probs[:, order].double().exp()
    ends = shares.cumsum(1) / shares.sum(1, keepdim=True)
    share = torch.special.ndtr(place.double())[:, None]
    reached = torch.searchsorted(ends, share, right=True)[:, 0]
    # Rounding may leave the last end below 1, and what is behind it may not be drawn.
    last = (shares > 0).long().cumsum(1).argmax(1)
    return order[torch.minimum(reached, last)]
