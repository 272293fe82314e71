"""All methods on the task model: two held-out problems each, live, lossless outputs compared token by token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from ar_core.decoding import Decoded, DecodeStats
from ar_core.hf import HFBackbone, LoadedModel, load_causal_lm
from ar_core.registry import decoder, resolve
from ar_core.verification import FirstDifference
from ar_decode.replay import Scene, replay_of
from dlm_text.diffuspec.decode import DiffuSpecDecoded
from dlm_text.tasks import Problem, encode_prompt, held_out
from dlm_text.tasks.evaluate import Arm, arm

from .lossless import near_tie
from .shipped import is_shipped, shipped_weights

__all__ = ["BASELINE", "METHODS", "PROBLEMS", "LiveAnswer", "Method", "MethodsAct", "run_methods_act"]

BASELINE = "AR"
"""What the others are compared with."""
PROBLEMS = 2
"""The first held-out problems, the same for every method."""


@dataclass(frozen=True)
class Method:
    """A method and the settings it is shown with.

    Attributes:
        title: as papers call it.
        decoder: its registered name.
        model: shipped model that writes the answer.
        options: of its decoder, by which recorded figures with the same ones are found; what the checkpoint decides is not among them.
        drafter: shipped model that drafts for it.
    """

    title: str
    decoder: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    drafter: str | None = None

    @property
    def lossless(self) -> bool:
        """Whether the output must be that of one token per pass with the same model."""
        return decoder(self.decoder).lossless

    @property
    def missing(self) -> list[str]:
        """Shipped models that it needs and this installation lacks."""
        needed = [self.model, *([self.drafter] if self.drafter else [])]
        return [name for name in needed if not is_shipped(name)]


METHODS = (
    Method("Fast-dLLM v2", "fast_dllm_v2", "fast_dllm_v2", {"threshold": 0.9, "commit": "fused"}),
    # Blocks laid out as in training.
    Method(
        "Efficient-DLM", "efficient_dlm", "efficient_dlm", {"threshold": 0.9, "commit": "fused", "grid": "absolute"}
    ),
    Method("Jacobi Forcing", "jacobi_forcing", "jacobi_forcing", {"block_length": 16, "blocks": 2, "pool": 4}),
    Method(
        "DiffuSpec",
        "diffuspec",
        "ar",
        {"proxy": "uniform", "length_policy": "paper", "tree_nodes": None},
        drafter="fast_dllm_v2",
    ),
)
"""What runs, with its settings."""


@dataclass(frozen=True)
class LiveAnswer:
    """One problem as one method solved it.

    Attributes:
        problem: what was asked.
        right: the answer is exactly the right one.
        stats: passes and seconds of the model that writes.
        drafter_forwards: passes of a second model that drafts; None if there is none.
        lossless: the method promises the tokens of one token per pass.
        tie: where its tokens part from those, at a near tie; None if they do not.
    """

    problem: Problem
    right: bool
    stats: DecodeStats
    drafter_forwards: int | None = None
    lossless: bool = False
    tie: FirstDifference | None = None


@dataclass(frozen=True)
class MethodsAct:
    """What ran live.

    Attributes:
        answers: by title, ``PROBLEMS`` each; the autoregressive base first.
        missing: titles of methods that could not be shown, and the shipped models that they lack.
        scenes: each problem, replayed by all of them.
    """

    answers: Mapping[str, tuple[LiveAnswer, ...]]
    missing: Mapping[str, tuple[str, ...]]
    scenes: tuple[Scene, ...]

    def total(self, title: str) -> DecodeStats:
        """All passes of a method together."""
        return sum((answer.stats for answer in self.answers[title]), DecodeStats())


@dataclass(frozen=True)
class _Model:
    """A shipped model, and its autoregressive decoder."""

    loaded: LoadedModel
    backbone: HFBackbone
    autoregressive: Arm


def run_methods_act() -> MethodsAct:
    """Solve the same problems by every method whose models are there.

    Raises:
        CheckpointError: the autoregressive model is not in this installation.
        NotLosslessError: a lossless method gave other tokens than its model, one token per pass, at a step that is no near tie.
    """
    models: Callable[[str], _Model] = cache(_load)
    base = models("ar")
    tokenizer: Any = base.loaded.tokenizer
    problems = held_out("mixed", PROBLEMS)
    missing = {method.title: tuple(method.missing) for method in METHODS if method.missing}
    shown = [method for method in METHODS if method.title not in missing]
    arms = {method.title: _arm(method, models(method.model), tokenizer) for method in shown}
    answers: dict[str, list[LiveAnswer]] = {BASELINE: [], **{title: [] for title in arms}}
    scenes = []
    for problem in problems:
        ids = encode_prompt(tokenizer, problem.prompt)
        outputs = {BASELINE: base.autoregressive([ids])}
        answers[BASELINE].append(_answer(problem, outputs[BASELINE], tokenizer))
        for method in shown:
            model, decoded = models(method.model), arms[method.title]([ids])
            tie = None
            if method.lossless:
                tie = near_tie(
                    model.backbone,
                    ids,
                    outputs[BASELINE] if model is base else model.autoregressive([ids]),
                    decoded,
                    method=method.title,
                    prompt=problem.prompt,
                    stop_ids=[tokenizer.eos_token_id],
                )
            outputs[method.title] = decoded
            answers[method.title].append(_answer(problem, decoded, tokenizer, lossless=method.lossless, tie=tie))
            replays = tuple(replay_of(title, output, tokenizer.decode) for title, output in outputs.items())
        scenes.append(Scene(problem.task.replace("_", " "), problem.prompt, replays))
    return MethodsAct({title: tuple(found) for title, found in answers.items()}, missing, tuple(scenes))


def _load(name: str) -> _Model:
    loaded = load_causal_lm(shipped_weights(name), dtype=torch.float32)
    backbone = HFBackbone(loaded.model)
    assert loaded.tokenizer is not None
    return _Model(loaded, backbone, arm(backbone, loaded.tokenizer, trace=True))


def _arm(method: Method, model: _Model, tokenizer: Any) -> Arm:
    options = resolve(decoder(method.decoder).options)
    own: dict[str, Any] = {}
    if hasattr(options, "of_checkpoint"):
        own = options.of_checkpoint(model.loaded.model.config, model.loaded.tokenizer)
    drafter = {}
    if method.drafter:
        drafter = {"drafter": str(shipped_weights(method.drafter)), "drafter_dtype": "float32"}
    return arm(model.backbone, tokenizer, method.decoder, trace=True, **{**own, **drafter, **method.options})


def _answer(
    problem: Problem, decoded: Decoded, tokenizer: Any, *, lossless: bool = False, tie: FirstDifference | None = None
) -> LiveAnswer:
    text = str(tokenizer.decode(decoded.tokens[0], skip_special_tokens=True))
    drafted = decoded.drafting.forwards if isinstance(decoded, DiffuSpecDecoded) else None
    return LiveAnswer(problem, problem.solved_by(text), decoded.stats, drafted, lossless, tie)
