"""What evaluations of all methods share: problems, the journal of a long job, tallies, AUP, acceptance by position."""

from .acceptance import PositionAcceptance, acceptance_by_position
from .aup import accuracy_under_parallelism
from .benchmark import Benchmark, EvalProblem, LikelihoodBenchmark, Verdict
from .journal import Journal
from .records import evaluation_records
from .tally import Tally

__all__ = [
    "Benchmark",
    "EvalProblem",
    "Journal",
    "LikelihoodBenchmark",
    "PositionAcceptance",
    "Tally",
    "Verdict",
    "acceptance_by_position",
    "accuracy_under_parallelism",
    "evaluation_records",
]
