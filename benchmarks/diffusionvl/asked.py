"""Texts that are decoded one by one, and the passes that a schedule takes for them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.decoding import Decoded, StopRule
from ar_core.errors import NumericsError
from ar_core.sampling import Sampler
from dvlm.chat.conversation import Turn
from dvlm.decoding.backbone import VisionBackbone
from dvlm.decoding.requests import Request
from dvlm.decoding.session import Session
from dvlm.prompt import VisionPrompt

from ..image_text.stories import TELL
from .answering import AR, Way, by_way, prompts_of

__all__ = ["FUSED", "SEPARATE_WAYS", "Asked", "OneByOne", "of_one_length", "passes_of", "static_passes"]

SEPARATE_WAYS = tuple(
    Way(f"S={steps}, separate commits", "diffusionvl", {"steps": steps, "commit": "separate"}) for steps in (8, 1)
)
FUSED = {way.name: f"S={way.settings['steps']}" for way in SEPARATE_WAYS}
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
        requests: with their pictures.
        length: N, tokens of each text; the most of them, where a text ends by itself.
        ends: whether it does.
    """

    name: str
    requests: Sequence[Request]
    length: int
    ends: bool = False


def of_one_length(photographs: Sequence[Request], lengths: tuple[int, int]) -> tuple[Asked, Asked]:
    """Captions of photographs, and one long answer: a story, which training has without a picture."""
    caption, answer = lengths
    story = Request("story", (Turn("user", TELL),), (), TELL, {})
    return Asked("caption", photographs, caption), Asked("answer", [story], answer)


class OneByOne:
    """Texts by one arm and way, from the pixels on, tower included; reading the files is not a part of it.

    Where texts do not end by themselves, end-of-text and all other special tokens are banned, so that every token that is counted is
    one of text.
    """

    def __init__(self, session: Session, way: Way, asked: Asked) -> None:
        self.session, self.way, self.asked = by_way(session, way, asked.length), way, asked
        self.prompts = prompts_of(self.session, asked.requests, blind=False)

    @property
    def lengths(self) -> list[int]:
        """P of each text, tokens of its picture included."""
        return [len(prompt) for prompt in self.prompts]

    def __call__(self, *, may_end: bool = False) -> list[Decoded]:
        """Decode each prompt alone; ``may_end``: also texts that are kept from it end by themselves."""
        return [self._decode(prompt, may_end or self.asked.ends) for prompt in self.prompts]

    def checked(self) -> list[Decoded]:
        """Decode, and hold lengths and counters against the schedule.

        Raises:
            NumericsError: passes are not as many as the schedule says.
        """
        found = self()
        for prompt, one in zip(self.lengths, found, strict=True):
            expected = None if self.asked.ends else self._expected(prompt)
            tokens, length = len(one.tokens[0]), self.asked.length
            wrong = tokens > length if self.asked.ends else tokens != length
            if wrong or (expected is not None and one.stats.nfe != expected):
                raise NumericsError(
                    f"{self.way.name}: {one.stats.nfe} passes gave {tokens} tokens, and the schedule says {expected} passes for "
                    f"{length}: the decoder does not do what it says"
                )
        return found

    def _expected(self, prompt: int) -> int | None:
        if self.way == AR:
            return self.asked.length
        if "steps" not in self.way.settings:
            return None
        size = self.session.method.policy.block_size if self.session.method.policy else 1
        fused = "commit" not in self.way.settings
        return static_passes(prompt, self.asked.length, size, self.way.settings["steps"], fused=fused)

    def _decode(self, prompt: VisionPrompt, may_end: bool) -> Decoded:
        session = self.session
        special = {*session.stop.stop_ids, *session.tokenizer.all_special_ids, *session.sampler.banned_ids}
        sampler = session.sampler if may_end else Sampler(banned_ids=tuple(sorted(special)))
        stop = StopRule(session.stop.stop_ids if may_end else frozenset(), self.asked.length)
        seen = VisionBackbone(session.loaded.model, [prompt], session.backbone)
        found: Decoded = session.method.function(seen, seen.ids, session.method.options, stop=stop, sampler=sampler)
        return found


def passes_of(found: Sequence[Decoded]) -> Counter[str]:
    """Passes over all texts, by phase."""
    passes: Counter[str] = Counter()
    for one in found:
        passes.update(one.stats.forwards)
    return passes
