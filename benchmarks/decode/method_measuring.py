"""A method under a script: first that it does what the script says, then its time beside AR's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.decoding import Decoded, DecodeStats
from ar_core.hf import EngineName, HFBackbone
from torch import Tensor

from benchmarks.timing import interleaved

from .methods import Method, baseline
from .models import dtype_name, weight_bytes
from .passes import draw_prompts

__all__ = ["MethodCase", "measure_method"]


@dataclass(frozen=True)
class MethodCase:
    """A method at one batch size.

    Attributes:
        method: which.
        backbone: the model in its engine; called when it is measured.
        against: the model in the engine of AR.
        model: name.
        engine: name.
        dtype: of the weights.
        weights: how they are stored.
        prompt: tokens of each prompt.
        batch: rows.
    """

    method: Method
    backbone: Callable[[], HFBackbone]
    against: Callable[[], HFBackbone]
    model: str
    engine: EngineName
    dtype: torch.dtype
    weights: str
    prompt: int
    batch: int

    @property
    def name(self) -> str:
        """Unique name."""
        return f"method: {self.method.label}, {self.model}, {dtype_name(self.dtype)}, {self.engine}, {self.weights}, batch {self.batch}"


def measure_method(case: MethodCase, *, repeats: int, ceiling: Mapping[str, float] | None) -> dict[str, Any]:
    """Measure one method, unless its tokens are not AR's or its tokens per forward are not those of the script.

    All times are those behind the prefill, which is the same for both sides and not what a method is about.

    Args:
        case: which.
        repeats: timed rounds.
        ceiling: of the device; None: no share of its bandwidth.

    Returns:
        JSON-able: ``error``, empty if all is as scripted; ``tokens_per_forward``; ``seconds`` of each side; of minima
        ``tokens_per_second`` of all rows, ``speedup`` over AR, and ``conversion``, the speed-up over the tokens per forward. Of
        AR ``of_bandwidth``: bytes of weights, and of the keys and values that a step sees, a second, as a share of what a copy
        moves. ``prefill_seconds`` is of the method.
    """
    backbone, other = case.backbone(), case.against()
    method, ar = case.method, baseline(case.method.tokens)
    prompts = draw_prompts(backbone, case.prompt, case.batch)
    runs: dict[str, Callable[[], Decoded]] = {"method": lambda: method.decode(backbone, prompts, method.tokens)}
    if method.label != ar.label:
        runs["ar"] = lambda: ar.decode(other, prompts, ar.tokens)
    row: dict[str, Any] = {
        "name": case.name,
        "kind": "method",
        "label": method.label,
        "model": case.model,
        "engine": case.engine,
        "dtype": dtype_name(case.dtype),
        "weights": case.weights,
        "batch": case.batch,
        "prompt": case.prompt,
        "tokens": method.tokens,
        "scripted_tokens_per_forward": method.tokens_per_forward,
    }
    found = runs["method"]()
    expected = ar.decode(other, prompts, ar.tokens)
    rate = _rate(found.stats, method)
    row["tokens_per_forward"] = rate
    if found.tokens != expected.tokens:
        differ = sum(one != wanted for one, wanted in zip(found.tokens, expected.tokens, strict=True))
        return {**row, "error": f"not timed: {differ} of {case.batch} outputs are not AR's"}
    if abs(rate - method.tokens_per_forward) > 1e-9:
        return {
            **row,
            "error": f"not timed: {rate:.3f} tokens per forward, and the script says {method.tokens_per_forward:.3f}",
        }
    if case.engine != "plain":
        # The second pass of a kind is captured or compiled.
        for run in runs.values():
            run()
    prefill: dict[str, list[float]] = {side: [] for side in runs}
    noting = {side: _noting(run, prefill[side]) for side, run in runs.items()}
    # Every pass ends with a read on the host, so that the wall clock is right on any device, but for a prefill whose logits
    # nobody wants.
    with waiting(backbone, case.prompt), waiting(other, case.prompt):
        seconds = interleaved(noting, repeats, "cpu")
    behind = {
        side: [whole - first for whole, first in zip(seconds[side], prefill[side][1:], strict=True)] for side in runs
    }
    best = {side: min(values) for side, values in behind.items()}
    row |= {
        "error": "",
        "seconds": behind,
        "prefill_seconds": min(prefill["method"][1:]),
        "tokens_per_second": case.batch * (method.tokens - method.first) / best["method"],
    }
    if "ar" in runs:
        ar_rate = case.batch * (ar.tokens - ar.first) / best["ar"]
        row["speedup"] = round(row["tokens_per_second"] / ar_rate, 3)
        row["conversion"] = round(row["tokens_per_second"] / ar_rate / rate, 3)
    if method.tokens_per_forward == ar.tokens_per_forward and ceiling is not None:
        steps = ar.tokens - ar.first
        seen = case.prompt + (ar.tokens + 1) / 2
        read = weight_bytes(backbone) + case.batch * seen * _slot_bytes(backbone)
        row["of_bandwidth"] = round(steps * read / best["method"] / ceiling["bytes_per_second"], 3)
    if found.stats.drafter:
        row["drafter"] = dict(found.stats.drafter)
    return row


@contextmanager
def waiting(backbone: HFBackbone, tokens: int) -> Iterator[None]:
    """Let passes of so many tokens or more end when the device has ended them."""
    hidden = backbone.hidden

    def waited(ids: Tensor | None, **given: Any) -> Tensor:
        found = hidden(ids, **given)
        if found.is_cuda and found.shape[1] >= tokens:
            torch.cuda.synchronize(found.device)
        return found

    backbone.hidden = waited  # type: ignore[method-assign]
    try:
        yield
    finally:
        backbone.hidden = hidden  # type: ignore[method-assign]


def _rate(stats: DecodeStats, method: Method) -> float:
    """Tokens per row-forward behind the prefill."""
    passes = stats.row_forwards.total() - stats.row_forwards["prefill"]
    return (sum(stats.generated) - method.first * len(stats.generated)) / max(1, passes)


def _noting(run: Callable[[], Decoded], prefill: list[float]) -> Callable[[], None]:
    def noted() -> None:
        prefill.append(float(run().stats.seconds["prefill"]))

    return noted


def _slot_bytes(backbone: HFBackbone) -> int:
    """Keys and values of one token in all layers."""
    config = backbone.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * config.num_key_value_heads * head_dim * backbone.dtype.itemsize
