"""Accuracy of short answers."""

import itertools
import re
from collections.abc import Iterator, Sequence

__all__ = ["exact_match", "normalised", "published_cut", "soft_accuracy"]

AGREEING = 3
"""So many annotators who gave an answer make it fully right."""
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS = {**{word: str(number) for number, word in enumerate(NUMBERS)}, "none": "0"}
ARTICLES = ("a", "an", "the")
SIGNS = ';/[]"{}()=+\\_-><@`,?!'
CONTRACTIONS = """
    'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
    how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've o'clock oughtn't shan't
    she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
    something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've wasn't
    we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""
"""Those of the VQA evaluation; words that are others without their apostrophe (we're, she'll) are not among them."""
_IN_NUMBERS = re.compile(r"(?<=\d),(?=\d)")
_FULL_STOP = re.compile(r"\.(?!\d)")


def _without_apostrophes(word: str) -> Iterator[str]:
    """A word with one or more of its apostrophes left out."""
    first, *rest = word.split("'")
    for kept in itertools.product(("'", ""), repeat=len(rest)):
        if "" in kept:
            yield first + "".join(sign + part for sign, part in zip(kept, rest, strict=True))


WORDS.update({spelt: word for word in CONTRACTIONS.split() for spelt in _without_apostrophes(word)})


def normalised(answer: str) -> str:
    """An answer as the VQA evaluation compares answers.

    Lower case. A sign of :data:`SIGNS` is left out where one of its kind has a space beside it, or where any number has a comma inside;
    else it becomes a space. Full stops that no digit follows are left out. One space between words, without articles; number words up to
    ten (and none) as digits; contractions with their apostrophes.

    The published code leaves references as they are where all annotators say the same; here they are always normalised.
    """
    given = text = " ".join(answer.lower().split())
    joined = _IN_NUMBERS.search(given) is not None
    for sign in SIGNS:
        alone = f"{sign} " in given or f" {sign}" in given
        text = text.replace(sign, "" if joined or alone else " ")
    words = [word for word in _FULL_STOP.sub("", text).split() if word not in ARTICLES]
    return " ".join(WORDS.get(word, word) for word in words)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the normalised answer is one of the normalised references, else 0."""
    return float(normalised(answer) in {normalised(one) for one in references})


def soft_accuracy(answer: str, references: Sequence[str]) -> float:
    """VQA accuracy (Antol et al., arXiv 1505.00468): min(annotators who said it / 3, 1), the mean over all ways to leave one
    annotator out. Three references or fewer cannot make an answer fully right by that rule; of them it is the exact match.

    Args:
        answer: the model's.
        references: one of each annotator, ten in VQAv2; at least one.
    """
    if len(references) <= AGREEING:
        return exact_match(answer, references)
    said = normalised(answer)
    agrees = [normalised(one) == said for one in references]
    scores = [min((sum(agrees) - one) / AGREEING, 1.0) for one in agrees]
    return sum(scores) / len(scores)


def published_cut(answer: str) -> str:
    """An answer as the published evaluation reads it: up to the first line break, one full stop at the end removed."""
    return answer.strip().split("\n", 1)[0].strip().removesuffix(".")
