"""What Jacobi iteration starts from: guesses for places that no pass has looked at yet."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from ar_core.errors import ConfigError

__all__ = ["FIRST_GUESSES", "FirstGuess", "first_guess", "guess_stream"]

Fill: TypeAlias = Callable[[Sequence[int], Sequence[int], int, int, Random], list[int]]
"""(known ids of the row, guesses between them and the new places, number of new places, vocabulary size, random stream)
-> one id for each new place."""


@dataclass(frozen=True)
class FirstGuess:
    """How new places of a window are filled.

    Attributes:
        name: what users type.
        fill: gives one id for each new place.
        carries: whether a guess that a pass made for a place beyond its window is kept when that place comes into it.
    """

    name: str
    fill: Fill
    carries: bool = False


def _repeat_last(known: Sequence[int], before: Sequence[int], count: int, vocab_size: int, stream: Random) -> list[int]:
    del vocab_size, stream
    return [before[-1] if before else known[-1]] * count


def _prompt_sample(
    known: Sequence[int], before: Sequence[int], count: int, vocab_size: int, stream: Random
) -> list[int]:
    del before, vocab_size
    return stream.choices(known, k=count)


def _random_vocab(
    known: Sequence[int], before: Sequence[int], count: int, vocab_size: int, stream: Random
) -> list[int]:
    del known, before
    return stream.choices(range(vocab_size), k=count)


FIRST_GUESSES = {
    policy.name: policy
    for policy in (
        FirstGuess("carry", _repeat_last, carries=True),
        FirstGuess("prompt_sample", _prompt_sample),
        FirstGuess("random_vocab", _random_vocab),
        FirstGuess("repeat_last", _repeat_last),
    )
}
"""By name. "carry": the verifier's guess of an earlier pass where there is one, else as "repeat_last": the id before the
new places, again and again. "prompt_sample": drawn with replacement from all that the row holds so far, the default of the
published code of arXiv 2512.14681. "random_vocab": drawn uniformly from the vocabulary."""


def first_guess(policy: str | FirstGuess) -> FirstGuess:
    """The policy of that name, or the policy itself.

    Raises:
        ConfigError: no policy has the name.
    """
    if isinstance(policy, FirstGuess):
        return policy
    if policy not in FIRST_GUESSES:
        raise ConfigError(
            f"Jacobi decoding was given init={policy!r}, but guesses start as one of {', '.join(FIRST_GUESSES)}; choose one."
        )
    return FIRST_GUESSES[policy]


def guess_stream(seed: int, prompt: Sequence[int]) -> Random:
    """The random stream of a row's guesses: a function of seed and prompt, so that batch mates do not change it."""
    digest = hashlib.blake2b(f"{seed}/{','.join(map(str, prompt))}".encode(), digest_size=8).digest()
    return Random(int.from_bytes(digest, "big"))
