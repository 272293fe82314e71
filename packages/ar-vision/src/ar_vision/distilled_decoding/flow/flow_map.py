"""The map from noise to codes: draws from a law that are functions of Gaussian vectors (arXiv 2412.17153, section 3).

N draws, V codes, Cv dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .closed_forms import in_closed_form
from .config import FlowSolver
from .solvers import Solution, adaptive, fixed_steps

__all__ = ["FlowMapped", "flow_map"]

RESTRICTED = 0.5
"""Where no draw has more than this share of the codes, those that it cannot be are left out of the work."""

SCORES = 0.01
"""Largest rounding of a score, of which the arithmetic bounds tau: scores are as large as tau² |c|²."""

DOUBT = {torch.float32: 1e-6, torch.float64: 1e-10}


class FlowMapped(NamedTuple):
    """What the noise of some draws maps to."""

    codes: Tensor
    """int64, in the shape of the draws."""
    evaluations: int
    """How often D was evaluated for one draw, in all."""


@torch.no_grad()
def flow_map(noise: Tensor, log_probs: Tensor, codebook: Tensor, solver: FlowSolver | None = None) -> FlowMapped:
    """Return the code that each noise vector flows to; over standard normal noise, codes are distributed as ``log_probs`` says.

    A draw depends on its own noise and law alone. Codes of log probability -inf are never reached. Of codes that are equal to each
    other, the most probable one stands for all.

    Args:
        noise: float [..., Cv].
        log_probs: float [..., V], up to a constant a draw; what a filter left out is -inf.
        codebook: float [V, Cv], as the tokenizer uses its rows: of unit length where it normalises them.
        solver: how; None: the default one.

    Returns:
        Codes [...] and the work.

    Example:
        >>> law = torch.tensor([0.25, 0.75]).log().expand(2, 2)
        >>> flow_map(torch.tensor([[-1.0], [0.0]]), law, torch.tensor([[0.0], [5.0]])).codes
        tensor([0, 1])
    """
    solver = solver or FlowSolver()
    wide = torch.promote_types(torch.promote_types(noise.dtype, log_probs.dtype), torch.float32)
    shape = noise.shape[:-1]
    noise, log_probs = (one.to(wide).reshape(-1, one.shape[-1]) for one in (noise, log_probs))
    codes = codebook.to(wide)
    # Moving all codes moves every path along: near the origin, scores keep most digits.
    codes = codes - codes.mean(0)
    log_probs = log_probs.log_softmax(1)
    if solver.closed_forms:
        exact = in_closed_form(noise, log_probs, codes)
        if exact is not None:
            return FlowMapped(exact.view(shape), 0)
    restricted, ids = _restricted(log_probs)
    if solver.kind != "adaptive":
        order = 1 if solver.kind == "euler" else 2
        found = fixed_steps(noise, restricted, codes, ids, solver.steps, order)
        return FlowMapped(found.codes.view(shape), found.evaluations)
    found = _adaptive(noise, restricted, codes, ids, solver.tolerance)
    again = (~found.settled).nonzero()[:, 0]
    if wide == torch.float32 and len(again):
        # Codes too near to each other for float32.
        listed = ids if ids is None else ids[again]
        exact_found = _adaptive(
            noise[again].double(), restricted[again].double(), codes.double(), listed, solver.tolerance
        )
        found.codes[again] = exact_found.codes
        found = found._replace(evaluations=found.evaluations + exact_found.evaluations)
    return FlowMapped(found.codes.view(shape), found.evaluations)


def _adaptive(noise: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None, tolerance: float) -> Solution:
    reach = float(codebook.norm(dim=1).max().clamp(min=1e-6))
    end = (SCORES / torch.finfo(noise.dtype).eps) ** 0.5 / reach
    doubt = DOUBT[noise.dtype]
    return adaptive(noise, log_probs, codebook, ids, tolerance=tolerance, doubt=doubt, reach=reach, end=end)


def _restricted(log_probs: Tensor) -> tuple[Tensor, Tensor | None]:
    """The most probable codes of each draw, so many as the draw with the most has, and their ids; or all, and None."""
    if not len(log_probs):
        return log_probs, None
    most = int(log_probs.isfinite().sum(1).max().clamp(min=1))
    if most > RESTRICTED * log_probs.shape[1]:
        return log_probs, None
    # In the order of the codes: of equal weights the first one is taken, in either way.
    ids = log_probs.topk(most, dim=1).indices.sort(1).values
    return log_probs.gather(1, ids), ids
