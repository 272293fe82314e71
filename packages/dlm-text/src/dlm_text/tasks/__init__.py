"""Tasks with exact answers: what a conversion gains and costs can be counted, not judged.

``arithmetic``, ``word_problems`` and ``extraction`` are generated from a seed. A hash of the prompt decides whether a
problem may be trained on, every problem has one right answer, and answers are 48 to 126 characters long.

This package imports no torch; ``dlm_text.tasks.evaluate``, which runs decoders, does.
"""

from .generate import TASKS, held_out, problem, stream
from .problem import HELD_OUT_PERCENT, Problem, Split, split_of
from .task import ExactTask
from .tokenizer import SPECIALS, SYMBOLS, build_tokenizer, encode_answer, encode_prompt

__all__ = [
    "HELD_OUT_PERCENT",
    "SPECIALS",
    "SYMBOLS",
    "TASKS",
    "ExactTask",
    "Problem",
    "Split",
    "build_tokenizer",
    "encode_answer",
    "encode_prompt",
    "held_out",
    "problem",
    "split_of",
    "stream",
]
