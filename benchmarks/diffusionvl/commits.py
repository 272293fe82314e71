"""What fused commits save, and whether texts stay the same, where rounding cannot decide."""

from collections.abc import Callable, Sequence

from dvlm.decoding.session import Session

from ..resumable import Row
from .answering import DIFFUSION_WAYS
from .asked import FUSED, SEPARATE_WAYS, Asked, OneByOne, passes_of

__all__ = ["measure_commits"]


def measure_commits(loaded: Callable[[str], Session], routes: Sequence[str], asked: Sequence[Asked], dtype: str) -> Row:
    """Decode texts of one length with separate and with fused commits.

    Args:
        loaded: gives the session of an arm.
        routes: arms of DiffusionVL.
        asked: the texts.
        dtype: of the weights, named in the row.

    Returns:
        A row with a case for each text, arm and number of steps: passes of both, and whether all tokens are the same.

    Raises:
        NumericsError: passes are not as many as the schedule says.
    """
    fused = {way.name: way for way in DIFFUSION_WAYS}
    cases = []
    for one in asked:
        for arm in routes:
            for way in SEPARATE_WAYS:
                apart = OneByOne(loaded(arm), way, one).checked()
                together = OneByOne(loaded(arm), fused[FUSED[way.name]], one).checked()
                cases.append(
                    {
                        "question": one.name,
                        "length": one.length,
                        "arm": arm,
                        "way": FUSED[way.name],
                        "separate": dict(passes_of(apart)),
                        "fused": dict(passes_of(together)),
                        "same_text": [text.tokens[0] for text in apart] == [text.tokens[0] for text in together],
                    }
                )
    return {"name": f"commits, {dtype}", "error": None, "what": "commits", "dtype": dtype, "cases": cases}
