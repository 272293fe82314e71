"""Tasks with exact answers: what a conversion gains and costs can be counted, not judged.

``arithmetic``, ``word_problems`` and ``extraction`` are generated from a seed. A hash of the prompt decides whether a
problem may be trained on, every problem has one right answer, and answers are 48 to 126 characters long.
"""

from .evaluate import MAX_ANSWER_TOKENS, Arm, Score, evaluate
from .generate import TASKS, held_out, problem, stream
from .problem import HELD_OUT_PERCENT, Problem, Split, split_of
from .task import ExactTask
from .tokenizer import SPECIALS, SYMBOLS, build_tokenizer, encode_answer, encode_prompt

__all__ = [
    "HELD_OUT_PERCENT",
    "MAX_ANSWER_TOKENS",
    "SPECIALS",
    "SYMBOLS",
    "TASKS",
    "Arm",
    "ExactTask",
    "Problem",
    "Score",
    "Split",
    "build_tokenizer",
    "encode_answer",
    "encode_prompt",
    "evaluate",
    "held_out",
    "problem",
    "split_of",
    "stream",
]
