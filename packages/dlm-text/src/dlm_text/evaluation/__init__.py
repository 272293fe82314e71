"""Evaluations of text models, as ``ar-decode eval`` lists them. Imports no torch."""

from ar_core.registry import Evaluation, HubSet

__all__ = ["EXACT_ANSWERS", "GSM8K", "HUMANEVAL", "MBPP", "MULTIPLE_CHOICE", "PERPLEXITY", "SPEC_BENCH"]

GSM8K = Evaluation(
    name="gsm8k",
    summary="Grade-school math: the final number must be right",
    build="dlm_text.evaluation.gsm8k:build",
    protocols=("boxed", "few_shot"),
    needs_examples=("few_shot",),
    data=HubSet("openai/gsm8k", "main", "test"),
    examples=HubSet("openai/gsm8k", "main", "train"),
)

HUMANEVAL = Evaluation(
    name="humaneval",
    summary="Python functions from their docstrings, run against their tests in a sandbox",
    build="dlm_text.evaluation.humaneval:build",
    protocols=("instruct", "complete"),
    data=HubSet("openai/openai_humaneval", None, "test"),
)

MBPP = Evaluation(
    name="mbpp",
    summary="Short Python programs from a sentence (test problems 11 to 510), run against their tests in a sandbox",
    build="dlm_text.evaluation.mbpp:build",
    protocols=("instruct", "few_shot"),
    data=HubSet("google-research-datasets/mbpp", "full", "test"),
    examples=HubSet("google-research-datasets/mbpp", "full", "prompt"),
)

SPEC_BENCH = Evaluation(
    name="spec_bench",
    summary="Speed on the six kinds of Spec-Bench prompts; nothing is right or wrong",
    build="dlm_text.evaluation.spec_bench:build",
    protocols=("first_turn",),
)

MULTIPLE_CHOICE = Evaluation(
    name="multiple_choice",
    summary="The most likely of given continuations must be the right one",
    build="dlm_text.evaluation.multiple_choice:build",
    protocols=("continuation", "letter"),
)

PERPLEXITY = Evaluation(
    name="perplexity",
    summary="Likelihood of whole texts, per token and per byte",
    build="dlm_text.evaluation.perplexity:build",
    protocols=("whole",),
)

EXACT_ANSWERS = Evaluation(
    name="exact_answers",
    summary="Held-out problems of the generated tasks: the answer must be right to the character",
    build="dlm_text.evaluation.exact_answers:build",
    protocols=("mixed", "arithmetic", "word_problems", "extraction"),
    generated=True,
)
