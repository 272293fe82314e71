"""Lossless decoding of several tokens per pass: a proposer drafts, the model verifies."""

from ar_core.verification.draft import Draft
from ar_core.verification.draft_budget import DraftBudget
from ar_core.verification.first_difference import FirstDifference, first_difference
from ar_core.verification.first_guess import FIRST_GUESSES, FirstGuess
from ar_core.verification.jacobi import Jacobi
from ar_core.verification.judge import Acceptance
from ar_core.verification.multi_block import MultiBlock
from ar_core.verification.ngram import NgramLookup
from ar_core.verification.pass_cost import TYPICAL_PASS_COST, PassCost
from ar_core.verification.proposer import CacheSharing, DraftReviewing, Drawing, Proposer
from ar_core.verification.recycling import Recycling
from ar_core.verification.speculative import speculative
from ar_core.verification.timing import measure_pass_cost, measure_pass_costs

__all__ = [
    "FIRST_GUESSES",
    "TYPICAL_PASS_COST",
    "Acceptance",
    "CacheSharing",
    "Draft",
    "DraftBudget",
    "DraftReviewing",
    "Drawing",
    "FirstDifference",
    "FirstGuess",
    "Jacobi",
    "MultiBlock",
    "NgramLookup",
    "PassCost",
    "Proposer",
    "Recycling",
    "first_difference",
    "measure_pass_cost",
    "measure_pass_costs",
    "speculative",
]
