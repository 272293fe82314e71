"""Choosing a teacher's codes by the flow from an image's own noise, in the place of draws.

Source: Distilled Decoding (arXiv 2412.17153), section 3.
"""

from collections import Counter
from collections.abc import Sequence

from torch import Generator, Tensor

from ..decoding.image_sampler import ImageSampler
from .flow.config import FlowSolver
from .flow.flow_map import flow_map
from .flow.report import solver_report
from .units import Units

__all__ = ["FlowPick"]


class FlowPick:
    """A picker of either loop of generation: from a unit and its logits to its codes, each from its own noise vector.

    All tokens of a unit are mapped on their own; their law is the one that the teacher samples from: after guidance, temperature
    and filters. At temperature 0 it is one code, which every noise vector flows to.

    Args:
        noise: of B images, [B, n, Cv].
        units: which tokens are filled together.
        sampler: temperature and filters.
        codebook: [V, Cv], as the tokenizer uses its rows.
        solver: of the flow.
        checked: so many draws of each unit are solved a second time, with errors thousands of times smaller.

    Attributes:
        counts: ``evaluations`` of the flow; ``checked`` draws and how many of them were ``agreeing``.
    """

    def __init__(
        self,
        noise: Tensor,
        units: Units,
        sampler: ImageSampler,
        codebook: Tensor,
        solver: FlowSolver,
        *,
        checked: int = 0,
    ) -> None:
        self.noise, self.units, self.sampler, self.codebook, self.solver = noise, units, sampler, codebook, solver
        self.checked = checked
        self.counts: Counter[str] = Counter()

    def __call__(self, unit: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Map the noise of a unit: int64 [B, L_k] from logits [B, L_k, V]."""
        if self.sampler.greedy:
            return logits.argmax(-1)
        noise, log_probs = self.noise[:, self.units.part(unit)], self.sampler.filtered(logits)
        found = flow_map(noise, log_probs, self.codebook, self.solver)
        self.counts["evaluations"] += found.evaluations
        if self.checked:
            noise, log_probs = (one.flatten(0, 1) for one in (noise, log_probs))
            every = -(-len(noise) // self.checked)
            report = solver_report(noise[::every], log_probs[::every], self.codebook, self.solver)
            self.counts.update(checked=report.draws, agreeing=report.agreeing)
        return found.codes
