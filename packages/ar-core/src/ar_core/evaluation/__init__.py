"""What evaluations of all methods share: problems, the journal of a long job, tallies, AUP, acceptance by position."""

from .acceptance import DraftAcceptance, PositionAcceptance, acceptance_by_position, draft_acceptance
from .aup import accuracy_under_parallelism
from .benchmark import Benchmark, EvalProblem, LikelihoodBenchmark, Verdict
from .journal import Journal
from .records import evaluation_records
from .tally import Tally

__all__ = [
    "Benchmark",
    "DraftAcceptance",
    "EvalProblem",
    "Journal",
    "LikelihoodBenchmark",
    "PositionAcceptance",
    "Tally",
    "Verdict",
    "acceptance_by_position",
    "accuracy_under_parallelism",
    "draft_acceptance",
    "evaluation_records",
]
