"""Passes and wall clock of texts of one length, in one engine with one kind of cache: one token a pass, and both routes."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from ar_core.decoding import Decoded, DecodeStats, StopRule
from ar_core.errors import NumericsError
from ar_core.sampling import Sampler
from dvlm.chat.conversation import MARKER, Turn
from dvlm.decoding.backbone import VisionBackbone
from dvlm.decoding.requests import Request
from dvlm.decoding.session import Session
from dvlm.prompt import VisionPrompt

from ..image_text.photographs import DETAIL
from ..image_text.stories import TELL
from ..resumable import Row
from ..timing import interleaved
from .answering import AR, DIFFUSION_WAYS, Way, by_way

__all__ = ["QUESTIONS", "measure_speed", "static_passes"]

QUESTIONS = {"caption": DETAIL, "answer": TELL}
"""What is asked about the photograph."""
SEPARATE = Way("S=8, separate commits", "diffusionvl", {"steps": 8, "commit": "separate"})
SEPARATE_FAST = Way("S=1, separate commits", "diffusionvl", {"steps": 1, "commit": "separate"})
FUSED = {SEPARATE.name: "S=8", SEPARATE_FAST.name: "S=1"}
"""What each of them is held against."""


def static_passes(prompt: int, length: int, block_size: int, steps: int, *, fused: bool) -> int:
    """Passes of the language model that a static schedule takes for a text that nothing ends early.

    A block with k masks takes k / (D / S) passes, rounded up; the prompt's whole blocks one; and every block but the last one more to
    be stored, unless it is stored by the next one's first pass.

    Args:
        prompt: P, tokens before the text, those of pictures included.
        length: N.
        block_size: D.
        steps: S, a divisor of D.
        fused: whether commits are fused with the next block's first pass.
    """
    first, end = prompt // block_size, prompt + length
    blocks = range(first, math.ceil(end / block_size))
    masks = [min(end, (block + 1) * block_size) - max(prompt, block * block_size) for block in blocks]
    denoised = sum(math.ceil(count / (block_size // steps)) for count in masks)
    return int(prompt >= block_size) + denoised + (0 if fused else len(masks) - 1)


def measure_speed(
    loaded: Callable[[str], Session],
    base: str,
    routes: Sequence[str],
    photograph: Request,
    question: str,
    length: int,
    repeats: int,
    device: str,
) -> Row:
    """Decode one question about a photograph to exactly so many tokens, by the AR control and by both routes, round robin.

    End-of-text and all other special tokens are banned, so that every token that is counted is one of text.

    Args:
        loaded: gives the session of an arm.
        base: the AR arm.
        routes: arms of DiffusionVL.
        photograph: what is looked at.
        question: one of :data:`QUESTIONS`.
        length: N.
        repeats: rounds.
        device: of the models.

    Returns:
        A row with a case for each arm and way: passes by phase, tokens per pass, the seconds of each round, and the ratio of its
        smallest time to that of the AR arm; of separate commits, whether the text is that of fused ones, token for token. In float32 on
        a CPU it is; elsewhere products of other shapes round differently, and a near tie may fall otherwise.

    Raises:
        NumericsError: passes are not as many as the schedule says.
    """
    runs = {(base, AR): _run_of(loaded(base), AR, photograph, question, length)}
    for arm in routes:
        for way in (*DIFFUSION_WAYS, SEPARATE, SEPARATE_FAST):
            runs[arm, way] = _run_of(loaded(arm), way, photograph, question, length)
    decoded = {key: run() for key, run in runs.items()}
    prompts = {arm: len(_prompt(loaded(arm), photograph, question)) for arm in (base, *routes)}
    for (arm, way), found in decoded.items():
        _check(arm, way, loaded(arm), found, prompts[arm], length)
    seconds = interleaved({_name(*key): run for key, run in runs.items()}, repeats, device, launches=True)
    fastest = min(seconds[_name(base, AR)])
    cases = []
    for (arm, way), found in decoded.items():
        session = loaded(arm)
        fused = next(
            (other for (one, by), other in decoded.items() if (one, by.name) == (arm, FUSED.get(way.name))), None
        )
        times = seconds[_name(arm, way)]
        cases.append(
            {
                "arm": arm,
                "way": way.name,
                "prompt": prompts[arm],
                "tokens": len(found.tokens[0]),
                "passes": dict(found.stats.forwards),
                "nfe": found.stats.nfe,
                "tokens_per_pass": len(found.tokens[0]) / found.stats.nfe,
                "seconds": times,
                "times_as_fast": fastest / min(times),
                "text": session.text(found.tokens[0]),
                **({} if fused is None else {"same_text": fused.tokens == found.tokens}),
            }
        )
    name = f"speed, {question} of {length} tokens"
    return {"name": name, "error": None, "what": "speed", "question": question, "length": length, "cases": cases}


def _name(arm: str, way: Way) -> str:
    return f"{arm}, {way.name}"


def _prompt(session: Session, photograph: Request, question: str) -> VisionPrompt:
    return session.prompt([Turn("user", f"{MARKER}\n{QUESTIONS[question]}")], photograph.pictures(), photograph.place)


def _run_of(session: Session, way: Way, photograph: Request, question: str, length: int) -> Callable[[], Decoded]:
    """One decoding from the pixels on, tower included; reading the file is not a part of it."""
    asked = by_way(session, way, length)
    prompt = _prompt(asked, photograph, question)
    special = {*asked.stop.stop_ids, *asked.tokenizer.all_special_ids, *asked.sampler.banned_ids}
    sampler = Sampler(banned_ids=tuple(sorted(special)))
    return partial(_decode, asked, prompt, sampler, StopRule(frozenset(), length))


def _decode(session: Session, prompt: VisionPrompt, sampler: Sampler, stop: StopRule) -> Decoded:
    seen = VisionBackbone(session.loaded.model, [prompt], session.backbone)
    found: Decoded = session.method.function(seen, seen.ids, session.method.options, stop=stop, sampler=sampler)
    return found


def _check(arm: str, way: Way, session: Session, found: Decoded, prompt: int, length: int) -> None:
    """Hold the counters against the schedule."""
    stats: DecodeStats = found.stats
    if way == AR:
        expected: int | None = length
    elif "steps" in way.settings:
        size = session.method.policy.block_size if session.method.policy else 1
        expected = static_passes(prompt, length, size, way.settings["steps"], fused="commit" not in way.settings)
    else:
        expected = None
    if len(found.tokens[0]) != length or (expected is not None and stats.nfe != expected):
        raise NumericsError(
            f"{_name(arm, way)}: {stats.nfe} passes gave {len(found.tokens[0])} tokens, and the schedule says {expected} passes for {length}: "
            "the decoder does not do what it says"
        )
