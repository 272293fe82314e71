"""Passes and wall clock of texts, in one engine with one kind of cache: one token a pass, and both routes."""

from collections.abc import Callable, Sequence
from typing import Any

from dvlm.decoding.session import Session
from dvlm.evaluation.caption_metrics import caption_metrics
from dvlm.evaluation.vqa_accuracy import exact_match

from ..resumable import Row
from ..timing import interleaved
from .answering import AR, DIFFUSION_WAYS
from .asked import FUSED, SEPARATE_WAYS, Asked, OneByOne, passes_of

__all__ = ["measure_speed"]


def measure_speed(
    loaded: Callable[[str], Session], base: str, routes: Sequence[str], asked: Asked, repeats: int, device: str
) -> Row:
    """Decode the texts one by one by the AR control and by both routes, round robin.

    Where a text goes on behind the end that its model would have given it, it tends to repeat itself, which a threshold takes for
    confidence: how long the texts are that may end is told beside.

    Args:
        loaded: gives the session of an arm.
        base: the AR arm.
        routes: arms of DiffusionVL.
        asked: the texts.
        repeats: rounds.
        device: of the models.

    Returns:
        A row with a case for each arm and way: passes by phase over all texts, tokens per pass, the seconds of each round, and the
        ratio of its smallest time to that of the AR arm; tokens of each text where it may end (at most as many); of texts that end by
        themselves, how good they are; of separate commits, whether the texts are those of fused ones, token for token. In float32 on a
        CPU they are; elsewhere products of other shapes round differently, and a near tie may fall otherwise.

    Raises:
        NumericsError: passes are not as many as the schedule says.
    """
    runs = {(base, AR): OneByOne(loaded(base), AR, asked)}
    for arm in routes:
        for way in (*DIFFUSION_WAYS, *SEPARATE_WAYS):
            runs[arm, way] = OneByOne(loaded(arm), way, asked)
    decoded = {key: run.checked() for key, run in runs.items()}
    seconds = interleaved(
        {f"{arm}, {way.name}": run for (arm, way), run in runs.items()}, repeats, device, launches=True
    )
    fastest = min(seconds[f"{base}, {AR.name}"])
    cases = []
    for (arm, way), found in decoded.items():
        run, times = runs[arm, way], seconds[f"{arm}, {way.name}"]
        fused = next(
            (other for (one, by), other in decoded.items() if (one, by.name) == (arm, FUSED.get(way.name))), None
        )
        ids = [one.tokens[0] for one in found]
        texts = [run.session.text(one) for one in ids]
        passes = passes_of(found)
        tokens, nfe = sum(map(len, ids)), passes.total()
        ended = found if asked.ends else run(may_end=True)
        cases.append(
            {
                "arm": arm,
                "way": way.name,
                "prompts": run.lengths,
                "tokens": tokens,
                "passes": dict(passes),
                "nfe": nfe,
                "tokens_per_pass": tokens / nfe,
                "seconds": times,
                "times_as_fast": fastest / min(times),
                "tokens_where_it_may_end": [len(one.tokens[0]) for one in ended],
                "texts": texts,
                **(_quality(asked, texts) if asked.ends else {}),
                **({} if fused is None else {"same_text": [one.tokens[0] for one in fused] == ids}),
            }
        )
    return {
        "name": f"speed, {asked.name} of {asked.length} tokens",
        "error": None,
        "what": "speed",
        "question": asked.name,
        "length": asked.length,
        "texts": len(asked.requests),
        "cases": cases,
    }


def _quality(asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
    texts = [text.strip() for text in texts]
    references = [list(one.data["answers"]) for one in asked.requests]
    return {
        "right": int(sum(map(exact_match, texts, references))),
        "metrics": caption_metrics(texts, references),
    }
