"""Answers, texts and speed of every arm: rows of one file a seed."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ar_core.environment import environment
from ar_core.errors import DataError
from ar_core.training.device import choose_device
from dvlm.decoding.session import Session
from dvlm.evaluation.caption_metrics import caption_metrics
from dvlm.evaluation.vqa_accuracy import exact_match
from dvlm.prompt import VisionPrompt

from ..recipes import FINAL, training_record
from ..resumable import Row, measure_missing
from .answering import Way, answer, prompts_of, session_for, ways_of
from .arms import ARMS, AUTOREGRESSIVE, BLIND_ARM, HALF, ROUTES, Study
from .asked import Asked, of_one_length
from .commits import measure_commits
from .questions import ANSWERS, TEXTS, Kind, digest, held_out_kinds
from .speed import measure_speed

__all__ = ["MEASURED", "measure_all"]

MEASURED = (AUTOREGRESSIVE, BLIND_ARM, *ROUTES, HALF)
"""Arms that are asked, what route 1 goes on from among them."""
LONG = 24
"""Tokens of an answer from which on it counts as a long one."""
KEPT = 20
"""Texts of a kind that are kept to be read."""
TIMED = 4
"""Photographs whose captions are timed."""
DESCRIBED = 8
"""Pictures whose descriptions, which end by themselves, are timed."""
EXACT = "float32"
"""In which separate and fused commits are held against each other."""


def measure_all(
    study: Study,
    arms: Sequence[str],
    results: Path,
    *,
    questions: int,
    captions: int,
    batch_size: int,
    dtype: str = "stored",
    repeats: int = 3,
    lengths: tuple[int, int] = (32, 256),
) -> list[Row]:
    """Measure the arms; what a file of results has already is kept.

    Args:
        study: which seed.
        arms: which have been trained.
        results: folder of the results.
        questions: of each kind with short answers at most.
        captions: of each kind that is answered by a text at most.
        batch_size: questions decoded together.
        dtype: of the weights in memory.
        repeats: timed rounds; 0: no times.
        lengths: tokens of the timed caption and of the timed answer.

    Raises:
        DataError: an arm is not known or has not been trained, or the data lack something.
    """
    if unknown := [arm for arm in arms if arm not in MEASURED]:
        raise DataError(f"there is no arm {unknown[0]!r} to be asked: give some of {', '.join(MEASURED)}")
    kinds = held_out_kinds(study.data, questions=questions, captions=captions)
    device = str(choose_device(study.device))
    head = {
        "kind": "diffusionvl",
        **study.describe(),
        "data": digest(study.data),
        "questions": {name: len(kind.requests) for name, kind in kinds.items()},
        "dtype": dtype,
        "decode_batch_size": batch_size,
        "repeats": repeats,
        "lengths": list(lengths),
        "environment": environment(device),
    }
    loaded = _Loaded(study, device, dtype)

    def cases() -> Iterator[tuple[str, Callable[[], Row]]]:
        for arm in [arm for arm in ARMS if (study.of(arm) / FINAL).is_dir()]:
            yield f"training, {arm}", partial(_training, study, arm)
        yield "guessing", partial(_guessing, kinds)
        for arm in arms:
            for what, chosen in (("answers", ANSWERS), ("texts", TEXTS)):
                asked = [kinds[name] for name in chosen]
                for way in ways_of(loaded(arm), short=what == "answers"):
                    yield f"{what}, {arm}, {way.name}", partial(_asked, what, loaded, arm, way, asked, batch_size)
        routes = [arm for arm in arms if arm in ROUTES]
        texts = of_one_length(kinds["long caption"].requests[:TIMED], lengths)
        if repeats and AUTOREGRESSIVE in arms:
            described = Asked("description", kinds["description"].requests[:DESCRIBED], TEXTS["description"], ends=True)
            for asked in (*texts, described):
                speed = partial(measure_speed, loaded, AUTOREGRESSIVE, routes, asked, repeats, device)
                yield f"speed, {asked.name} of {asked.length} tokens", speed
        if routes:
            yield f"commits, {EXACT}", partial(measure_commits, _Loaded(study, device, EXACT), routes, texts, EXACT)

    return measure_missing(results / f"diffusionvl_seed{study.seed}.json", head, cases(), tell=_tell)


class _Loaded:
    """Sessions by arm and prompts by kind of question, each made once; all fit into memory together."""

    def __init__(self, study: Study, device: str, dtype: str) -> None:
        self.study, self.device, self.dtype = study, device, dtype
        self.sessions: dict[str, Session] = {}
        self.prompts: dict[tuple[str, bool], list[VisionPrompt]] = {}

    def __call__(self, arm: str) -> Session:
        if arm not in self.sessions:
            self.sessions[arm] = session_for(self.study.model(arm), self.device, self.dtype)
        return self.sessions[arm]

    def asked(self, arm: str, kind: Kind) -> list[VisionPrompt]:
        """The questions of a kind as an arm gets them: all but the blind one the same, since tokenizer and tower are."""
        key = kind.name, arm == BLIND_ARM
        if key not in self.prompts:
            self.prompts[key] = prompts_of(self(arm), kind.requests, blind=key[1])
        return self.prompts[key]


def _training(study: Study, arm: str) -> Row:
    record = training_record(study.of(arm))
    chosen = ARMS[arm]
    return {
        "name": f"training, {arm}",
        "error": None,
        "what": "training",
        "arm": arm,
        "recipe": chosen.recipe,
        "base": chosen.base,
        "samples": record["steps"] * study.batch_size,
        "steps": record["steps"],
        "minutes": record["minutes"],
    }


def _guessing(kinds: dict[str, Kind]) -> Row:
    values = {name: {"chance": kinds[name].chance, "majority": kinds[name].majority} for name in ANSWERS}
    return {"name": "guessing", "error": None, "what": "guessing", "values": values}


def _asked(what: str, loaded: _Loaded, arm: str, way: Way, kinds: Sequence[Kind], batch_size: int) -> Row:
    session, values = loaded(arm), {}
    for kind in kinds:
        prompts = loaded.asked(arm, kind)
        asked = partial(answer, session, way, max_new_tokens=kind.max_new_tokens, batch_size=batch_size)
        found = asked(prompts)
        right = [exact_match(text, references) for text, references in zip(found.texts, kind.references, strict=True)]
        value: dict[str, Any] = {
            "questions": len(right),
            "right": int(sum(right)),
            "tokens": sum(found.tokens),
            "row_passes": sum(found.stats.row_forwards.values()),
            "tokens_per_pass": found.stats.tokens_per_forward,
        }
        if kind.name in TEXTS:
            long = [place for place, tokens in enumerate(found.tokens) if tokens >= LONG]
            # Passes are counted over a batch, so that the long ones are decoded once more by themselves. A row gets what it gets in any
            # batch but for the rounding of products of other shapes: how many texts are the same is told.
            again = asked([prompts[place] for place in long]) if long else None
            value |= {
                "metrics": caption_metrics(found.texts, kind.references),
                "long": len(long),
                "long_again_same": 0 if again is None else sum(found.texts[p] == t for p, t in zip(long, again.texts)),
                "tokens_per_pass_of_long": None if again is None else again.stats.tokens_per_forward,
                "texts": found.texts[:KEPT],
                "of": [one.id for one in kind.requests[:KEPT]],
            }
        values[kind.name] = value
    return {
        "name": f"{what}, {arm}, {way.name}",
        "error": None,
        "what": what,
        "arm": arm,
        "way": way.name,
        "values": values,
    }


def _tell(row: Row) -> None:
    print(f"measured: {row['name']}", flush=True)
