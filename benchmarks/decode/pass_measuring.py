"""A pass against Hugging Face's logits first, then its time beside one token and beside Hugging Face."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.hf import EngineName, HFBackbone
from torch import Tensor

from benchmarks.kernels.case import disagreement
from benchmarks.timing import interleaved

from .causal_passes import one_token
from .huggingface import HuggingFacePass
from .models import dtype_name
from .passes import Build, Pass

__all__ = ["PassCase", "measure_pass"]

MOST = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Error ratio of logits (RMS over RMS) that two ways to compute a model may have."""
WARM_UP = 3
"""The second pass of a kind is captured or compiled."""


@dataclass(frozen=True)
class PassCase:
    """A pass of a method.

    Attributes:
        label: method and kind of pass.
        build: makes it.
        models: our model in its engine, and the twin for Hugging Face; called when it is measured.
        model: name.
        engine: name.
        dtype: of the weights.
        weights: how ours are stored.
        context: tokens in the cache.
        batch: rows.
    """

    label: str
    build: Build
    models: Callable[[], tuple[HFBackbone, Any]]
    model: str
    engine: EngineName
    dtype: torch.dtype
    weights: str
    context: int
    batch: int

    @property
    def name(self) -> str:
        """Unique name."""
        kind = f"{dtype_name(self.dtype)}, {self.engine}, {self.weights}"
        return f"pass: {self.label}, {self.model}, {kind}, batch {self.batch}, context {self.context}"


def measure_pass(case: PassCase, *, repeats: int) -> dict[str, Any]:
    """Measure one pass, unless its logits are not Hugging Face's.

    Args:
        case: which.
        repeats: timed rounds.

    Returns:
        JSON-able: ``error``, empty if the logits agree; then wall-clock ``seconds`` of the pass, of a one-token pass in the same
        engine (AR's), and of Hugging Face's forward, in turn; ``one_token_passes``, what the pass costs in AR's, and
        ``of_huggingface``, its share of the time of Hugging Face's, both of minima.
    """
    backbone, other = case.models()
    asked = case.build(backbone, case.context, case.batch)
    theirs = HuggingFacePass(other, asked)
    row: dict[str, Any] = {
        "name": case.name,
        "kind": "pass",
        "label": case.label,
        "model": case.model,
        "engine": case.engine,
        "dtype": dtype_name(case.dtype),
        "weights": case.weights,
        "context": case.context,
        "batch": case.batch,
        "tokens": asked.length,
    }
    ratios = [disagreement((_logits(backbone, asked),), (theirs.logits(),))]
    theirs.restore()
    for _ in range(WARM_UP):
        asked.run()
    # What was captured is held against Hugging Face too.
    ratios.append(disagreement((_logits(backbone, asked),), (theirs.logits(),)))
    theirs.restore()
    row["error_ratio"] = max(ratios)
    most = MOST[case.dtype]
    if not row["error_ratio"] <= most:
        return {
            **row,
            "error": f"not timed: logits {row['error_ratio']:.1e} off Hugging Face's, allowed {most:.0e}",
        }
    single = one_token(backbone, case.context, case.batch)
    for _ in range(WARM_UP):
        single.run()
    runs = {"one token": single.run, "pass": asked.run, "Hugging Face": theirs.run, "restored": theirs.restore}
    # Every pass ends with a read on the host, so that the wall clock is right on any device.
    seconds = interleaved(runs, repeats, "cpu")
    del seconds["restored"]
    best = {name: min(values) for name, values in seconds.items()}
    return {
        **row,
        "error": "",
        "seconds": seconds,
        "one_token_passes": round(best["pass"] / best["one token"], 3),
        "of_huggingface": round(best["pass"] / best["Hugging Face"], 3),
    }


def _logits(backbone: HFBackbone, asked: Pass) -> Tensor:
    """What the head gave in one pass, `[B · reads, V]`."""
    seen: list[Tensor] = []
    hook = backbone.projection.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    try:
        asked.run()
    finally:
        hook.remove()
    (logits,) = seen
    return logits.flatten(0, -2)
