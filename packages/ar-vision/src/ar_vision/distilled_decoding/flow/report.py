"""How many draws a solver decides as a solution does whose errors are thousands of times smaller.

Source: ours.
"""

from dataclasses import dataclass

from torch import Tensor

from .config import FlowSolver
from .flow_map import flow_map

__all__ = ["TIGHT", "SolverReport", "solver_report"]

TIGHT = FlowSolver(tolerance=1e-9)
"""What solvers are held against, in float64."""


@dataclass(frozen=True)
class SolverReport:
    """Agreement of a solver with the tight one.

    Attributes:
        draws: how many were solved by both.
        agreeing: those with the same code.
        evaluations: of D, by the solver, for all draws together.
        tight_evaluations: by the tight one.
    """

    draws: int
    agreeing: int
    evaluations: int
    tight_evaluations: int

    @property
    def agreement(self) -> float:
        """Share of draws that agree; 1 if there is none."""
        return self.agreeing / self.draws if self.draws else 1.0


def solver_report(noise: Tensor, log_probs: Tensor, codebook: Tensor, solver: FlowSolver) -> SolverReport:
    """Solve draws twice.

    Args:
        noise: [N, Cv], in the dtype in which the solver is used.
        log_probs: [N, V].
        codebook: [V, Cv].
        solver: what is reported on.
    """
    found = flow_map(noise, log_probs, codebook, solver)
    tight = flow_map(noise.double(), log_probs.double(), codebook.double(), TIGHT)
    agreeing = int((found.codes == tight.codes).sum())
    return SolverReport(noise[..., 0].numel(), agreeing, found.evaluations, tight.evaluations)
