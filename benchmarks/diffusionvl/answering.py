"""Answers of a trained arm by one way of decoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ar_core.decoding import DecodeStats
from dvlm.chat.conversation import MARKER
from dvlm.decoding.method import choose_method
from dvlm.decoding.options import DecodingOptions
from dvlm.decoding.requests import Request
from dvlm.decoding.session import Session, open_session
from dvlm.prompt import VisionPrompt

__all__ = ["AR", "DIFFUSION_WAYS", "Answers", "Way", "answer", "by_way", "prompts_of", "session_for", "ways_of"]


@dataclass(frozen=True)
class Way:
    """A decoder with its settings."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)


AR = Way("AR", "ar")
DIFFUSION_WAYS = (
    *(Way(f"S={steps}", "diffusionvl", {"steps": steps}) for steps in (8, 4, 2, 1)),
    *(
        Way(f"tau={threshold:g}", "diffusionvl", {"strategy": "dynamic", "threshold": threshold})
        for threshold in (0.95, 0.9, 0.8, 0.6, 0.4)
    ),
)
"""Static by passes a block, and dynamic by threshold."""
OF_SHORT_ANSWERS = ("AR", "S=8", "S=1", "tau=0.9")
"""Ways for answers of a few tokens, which fit into a block or two: there is no curve to be seen."""


@dataclass(frozen=True)
class Answers:
    """Answers to a list of questions."""

    texts: list[str]
    tokens: list[int]
    """Of each answer, without the token that ends it."""
    stats: DecodeStats


def session_for(model: Path, device: str, dtype: str) -> Session:
    """Load an arm; it decodes as its checkpoint says until :func:`answer` is told otherwise."""
    given: Any = {"dtype": dtype}
    return open_session(DecodingOptions(model=str(model), device=device, **given))


def ways_of(session: Session, *, short: bool) -> list[Way]:
    """How a model is decoded, for short answers or for texts."""
    ways = (AR,) if session.settings.diffusion is None else DIFFUSION_WAYS
    return [way for way in ways if not short or way.name in OF_SHORT_ANSWERS]


def by_way(session: Session, way: Way, max_new_tokens: int) -> Session:
    """The same model under another decoder and length."""
    method = choose_method(way.method, session.settings, way.settings)
    return replace(session, method=method, options=replace(session.options, max_new_tokens=max_new_tokens))


def prompts_of(session: Session, requests: Sequence[Request], *, blind: bool) -> list[VisionPrompt]:
    """The questions with their pictures, or, blind, without."""
    found = []
    for one in requests:
        turns = one.turns
        if blind:
            turns = [replace(turn, text=turn.text.replace(MARKER, "").strip()) for turn in turns]
        found.append(session.prompt(turns, [] if blind else one.pictures(), one.place))
    return found


def answer(
    session: Session, way: Way, prompts: Sequence[VisionPrompt], max_new_tokens: int, *, batch_size: int
) -> Answers:
    """Answer greedily, in batches; a batch gives each row what it gets alone."""
    asked = by_way(session, way, max_new_tokens)
    texts, tokens, stats = [], [], DecodeStats()
    for begin in range(0, len(prompts), batch_size):
        decoded = asked.decode(prompts[begin : begin + batch_size], first_index=begin)
        texts += [asked.text(ids).strip() for ids in decoded.tokens]
        tokens += [len(ids) for ids in decoded.tokens]
        stats = stats + decoded.stats
    return Answers(texts, tokens, stats)
