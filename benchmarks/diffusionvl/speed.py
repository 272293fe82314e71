"""Passes and wall clock of texts of one length, in one engine with one kind of cache: one token a pass, and both routes."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ar_core.decoding import Decoded, StopRule
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

__all__ = ["Asked", "asked_for_speed", "measure_speed", "static_passes"]

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


@dataclass(frozen=True)
class Asked:
    """What is asked, one text after another.

    Attributes:
        name: of the row.
        question: the same of every text.
        photographs: looked at, one a text; None: a text without a picture.
        length: N, tokens of each text.
    """

    name: str
    question: str
    photographs: tuple[Request | None, ...]
    length: int


def asked_for_speed(photographs: Sequence[Request], lengths: tuple[int, int]) -> tuple[Asked, Asked]:
    """Captions of photographs, and one long answer: a story, which training has without a picture."""
    caption, answer = lengths
    return Asked("caption", DETAIL, tuple(photographs), caption), Asked("answer", TELL, (None,), answer)


def measure_speed(
    loaded: Callable[[str], Session], base: str, routes: Sequence[str], asked: Asked, repeats: int, device: str
) -> Row:
    """Decode the texts one by one, each to exactly so many tokens, by the AR control and by both routes, round robin.

    End-of-text and all other special tokens are banned, so that every token that is counted is one of text. Where a text goes on
    behind the end that its model would have given it, it tends to repeat itself, which a threshold takes for confidence: how long
    the texts are that may end is told beside.

    Args:
        loaded: gives the session of an arm.
        base: the AR arm.
        routes: arms of DiffusionVL.
        asked: the texts.
        repeats: rounds.
        device: of the models.

    Returns:
        A row with a case for each arm and way: passes by phase over all texts, tokens per pass, the seconds of each round, and the
        ratio of its smallest time to that of the AR arm; tokens of each text where it may end (at most as many); of separate
        commits, whether the texts are those of fused ones, token for token. In float32 on a CPU they are; elsewhere products of
        other shapes round differently, and a near tie may fall otherwise.

    Raises:
        NumericsError: passes are not as many as the schedule says.
    """
    runs = {(base, AR): _Run(loaded(base), AR, asked)}
    for arm in routes:
        for way in (*DIFFUSION_WAYS, SEPARATE, SEPARATE_FAST):
            runs[arm, way] = _Run(loaded(arm), way, asked)
    decoded = {key: run() for key, run in runs.items()}
    for (arm, way), found in decoded.items():
        _check(_name(arm, way), runs[arm, way], found, asked.length)
    seconds = interleaved({_name(*key): run for key, run in runs.items()}, repeats, device, launches=True)
    fastest = min(seconds[_name(base, AR)])
    cases = []
    for (arm, way), found in decoded.items():
        run = runs[arm, way]
        fused = next(
            (other for (one, by), other in decoded.items() if (one, by.name) == (arm, FUSED.get(way.name))), None
        )
        times = seconds[_name(arm, way)]
        texts = [one.tokens[0] for one in found]
        passes: Counter[str] = Counter()
        for one in found:
            passes.update(one.stats.forwards)
        tokens, nfe = sum(map(len, texts)), passes.total()
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
                "tokens_where_it_may_end": [len(one.tokens[0]) for one in run(may_end=True)],
                "texts": [run.session.text(ids) for ids in texts],
                **({} if fused is None else {"same_text": [one.tokens[0] for one in fused] == texts}),
            }
        )
    return {
        "name": f"speed, {asked.name} of {asked.length} tokens",
        "error": None,
        "what": "speed",
        "question": asked.name,
        "length": asked.length,
        "texts": len(asked.photographs),
        "cases": cases,
    }


def _name(arm: str, way: Way) -> str:
    return f"{arm}, {way.name}"


class _Run:
    """Texts by one arm and way, from the pixels on, tower included; reading the files is not a part of it."""

    def __init__(self, session: Session, way: Way, asked: Asked) -> None:
        self.session, self.way, self.length = by_way(session, way, asked.length), way, asked.length
        self.prompts = [_prompt(self.session, asked.question, photograph) for photograph in asked.photographs]

    @property
    def lengths(self) -> list[int]:
        """P of each text, tokens of its picture included."""
        return [len(prompt) for prompt in self.prompts]

    def __call__(self, *, may_end: bool = False) -> list[Decoded]:
        """Decode each prompt alone."""
        return [self._decode(prompt, may_end) for prompt in self.prompts]

    def _decode(self, prompt: VisionPrompt, may_end: bool) -> Decoded:
        session = self.session
        special = {*session.stop.stop_ids, *session.tokenizer.all_special_ids, *session.sampler.banned_ids}
        sampler = session.sampler if may_end else Sampler(banned_ids=tuple(sorted(special)))
        stop = StopRule(session.stop.stop_ids if may_end else frozenset(), self.length)
        seen = VisionBackbone(session.loaded.model, [prompt], session.backbone)
        found: Decoded = session.method.function(seen, seen.ids, session.method.options, stop=stop, sampler=sampler)
        return found


def _prompt(session: Session, question: str, photograph: Request | None) -> VisionPrompt:
    if photograph is None:
        return session.prompt([Turn("user", question)], [], question)
    return session.prompt([Turn("user", f"{MARKER}\n{question}")], photograph.pictures(), photograph.place)


def _check(name: str, run: _Run, found: Sequence[Decoded], length: int) -> None:
    """Hold the counters against the schedule."""
    for prompt, one in zip(run.lengths, found, strict=True):
        if run.way == AR:
            expected: int | None = length
        elif "steps" in run.way.settings:
            size = run.session.method.policy.block_size if run.session.method.policy else 1
            fused = "commit" not in run.way.settings
            expected = static_passes(prompt, length, size, run.way.settings["steps"], fused=fused)
        else:
            expected = None
        if len(one.tokens[0]) != length or (expected is not None and one.stats.nfe != expected):
            raise NumericsError(
                f"{name}: {one.stats.nfe} passes gave {len(one.tokens[0])} tokens, and the schedule says {expected} passes for {length}: "
                "the decoder does not do what it says"
            )
