"""Accuracy of short answers."""

import re
from collections.abc import Sequence

__all__ = ["exact_match", "normalised", "published_cut", "soft_accuracy"]

AGREEING = 3
"""So many annotators who gave an answer make it fully right."""
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ARTICLES = ("a", "an", "the")
_BETWEEN_DIGITS = re.compile(r"(?<=\d),(?=\d)")
_STOP = re.compile(r"(?<!\d)\.|\.(?!\d)")
_SIGNS = re.compile(r"[^\w\s.'’:%$€£°+-]")


def normalised(answer: str) -> str:
    """An answer as answers are compared: lower case, one space between words, without articles, punctuation and commas inside of
    numbers, number words up to ten as digits.

    The rules of the VQA evaluation without its table of contractions.
    """
    text = _BETWEEN_DIGITS.sub("", answer.lower().strip())
    text = _SIGNS.sub(" ", _STOP.sub("", text))
    words = [word for word in text.split() if word not in ARTICLES]
    return " ".join(str(NUMBERS.index(word)) if word in NUMBERS else word for word in words)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the normalised answer is one of the normalised references, else 0."""
    return float(normalised(answer) in {normalised(one) for one in references})


def soft_accuracy(answer: str, references: Sequence[str]) -> float:
    """VQA accuracy (Antol et al., arXiv 1505.00468): min(annotators who said it / 3, 1), the mean over all ways to leave one
    annotator out; of a single reference, the exact match.

    Args:
        answer: the model's.
        references: one of each annotator, ten in VQAv2; at least one.
    """
    if len(references) == 1:
        return exact_match(answer, references)
    said = normalised(answer)
    agrees = [normalised(one) == said for one in references]
    scores = [min((sum(agrees) - one) / AGREEING, 1.0) for one in agrees]
    return sum(scores) / len(scores)


def published_cut(answer: str) -> str:
    """An answer as the published evaluation reads it: up to the first line break, one full stop at the end removed."""
    return answer.strip().split("\n", 1)[0].strip().removesuffix(".")
