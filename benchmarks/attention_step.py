"""What `segments` is worth in training on a CPU: whole optimiser steps of SmolLM2-135M, and attention alone.

    python benchmarks/attention_step.py --threads 1 --repeats 5

Four arms take the same optimiser steps of Fast-dLLM v2 (L tokens, block size D, both complementary views, head and loss
on targets only): the two views as two rows of 2L or as one row of 3L with one clean stream, each under SDPA with a dense
bool mask and under segments. Before steps are timed, the losses of all arms must agree to 1e-5 and so must their
gradients: the norm of the difference over the norm, unclipped and over all parameters, and no tensor of the segments arms
may have two dimensions of the whole sequence. Arms are interleaved, the first round is dropped, and ratios are ratios of
minima. Run it on an idle machine; the result is a JSON file in `benchmarks/results/`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ar_core.allocator import keep_freed_memory
from ar_core.attention import attend
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_core.corruption import SampleRng
from ar_core.hf import load_causal_lm, use_backend
from ar_core.masks import Mask
from ar_core.training import Prepared
from ar_decode.environment import environment
from dlm_text.fast_dllm_v2.config import FastDLLMv2Config
from dlm_text.fast_dllm_v2.objective import FastDLLMv2Objective
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

TOLERANCE = 1e-5
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Arm:
    """One way of computing the same step."""

    views: str
    backend: str

    @property
    def name(self) -> str:
        """Layout and backend."""
        return f"{'2 x 2L' if self.views == 'stacked' else '3L'}, {self.backend}"


ARMS = [Arm(views, backend) for views in ("stacked", "shared") for backend in ("sdpa", "segments")]


class Shapes(TorchDispatchMode):
    """Counts the tensors made of which two dimensions are a whole sequence of `length` tokens: scores and masks."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.square = length, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and look at what it returns."""
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and list(tensor.shape).count(self.length) >= 2:
                self.square += 1
        return out


class Step:
    """Optimiser steps of one model under any arm, on one fixed sample."""

    def __init__(self, length: int, block: int) -> None:
        loaded = load_causal_lm("smollm2-135m-instruct", dtype=torch.float32)
        self.model = loaded.model.train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, weight_decay=0.0)
        # The last token of the vocabulary serves as the mask token: which one does not matter here.
        mask_id = loaded.model.config.vocab_size - 1
        ids = _text(loaded.tokenizer, length)
        sample = {"index": 0, "ids": ids, "labels": ids.clone(), "document": torch.zeros_like(ids)}
        self.prepared: dict[Arm, Prepared] = {}
        self.objectives: dict[Arm, FastDLLMv2Objective] = {}
        for arm in ARMS:
            config = FastDLLMv2Config(
                diffusion_block_size=block,
                sub_block_size=1,
                views=arm.views,  # type: ignore[arg-type]
                document_mask=False,
                document_positions=False,
            )
            self.objectives[arm] = FastDLLMv2Objective(config, mask_id)
            self.prepared[arm] = self.objectives[arm].prepare([sample], SampleRng(seed=0))

    def length(self, arm: Arm) -> int:
        """T, tokens of a row under this arm."""
        return self.prepared[arm].tensors["ids"].shape[1]

    def differentiate(self, arm: Arm) -> float:
        """Leave the gradient of one step in the parameters and return the loss."""
        use_backend(self.model, arm.backend)
        prepared = self.prepared[arm]
        self.optimizer.zero_grad()
        sums = self.objectives[arm].sums({"model": self.model}, prepared)
        loss = sums["masked"] / prepared.weights["masked"]
        loss.backward()
        return loss.item()

    def __call__(self, arm: Arm) -> None:
        """Take one step."""
        self.differentiate(arm)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def gradient(self) -> Tensor:
        """A copy of the gradient of all parameters, before clipping, as one vector."""
        return torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])


def _text(tokenizer: Any, length: int) -> Tensor:
    """The first tokens of this file."""
    ids = torch.tensor(tokenizer(Path(__file__).read_text())["input_ids"][:length])
    if len(ids) < length:
        raise SystemExit(
            f"--length is {length}, and the text of this benchmark has {len(ids)} tokens: give at most that."
        )
    return ids


def check(step: Step) -> dict[str, Any]:
    """Losses and gradients of all arms against the first, and whether any tensor spans T x T."""
    widths = {size for parameter in step.model.parameters() for size in parameter.shape}
    if clash := widths & {step.length(arm) for arm in ARMS}:
        raise SystemExit(
            f"A row of {min(clash)} tokens is as long as a layer is wide, so that masks cannot be told from weights: "
            "choose another --length."
        )
    losses, relative, largest, squares = {}, {}, {}, {}
    reference: Tensor | None = None
    for arm in ARMS:
        with Shapes(step.length(arm)) as shapes:
            losses[arm.name] = step.differentiate(arm)
        squares[arm.name] = shapes.square
        gradient = step.gradient()
        reference = gradient if reference is None else reference
        relative[arm.name] = float((gradient - reference).double().norm() / reference.double().norm())
        largest[arm.name] = float((gradient - reference).abs().max())
    step.optimizer.zero_grad()
    spread = max(losses.values()) - min(losses.values())
    problems = [f"losses differ by {spread:.1e}"] if spread > TOLERANCE else []
    problems += [f"gradients of {n} differ by {d:.1e}" for n, d in relative.items() if d > TOLERANCE]
    for arm in ARMS:
        if (squares[arm.name] > 0) != (arm.backend == "sdpa"):
            problems.append(f"{arm.name} made {squares[arm.name]} tensors of T x T")
    if problems:
        raise SystemExit(f"No step was timed: {'; '.join(problems)}.")
    return {
        "losses": losses,
        "relative_gradient_difference": relative,
        "largest_gradient_difference": largest,
        "gradient_norm": float(reference.double().norm()) if reference is not None else None,
        "tensors_of_T_x_T": squares,
    }


def attention_alone(length: int, block: int, views: int) -> dict[str, Callable[[], None]]:
    """Forward and backward of attention with SmolLM2's heads (9 over 3, width 64), by backend; masks are built once."""
    layout = block_diffusion_layout(block_grid(length, block), num_views=views)
    mask: Mask = block_diffusion_mask(layout.tokens)
    generator = torch.Generator().manual_seed(0)
    q, k, v, weight = (
        torch.randn(1, heads, layout.tokens.length, 64, generator=generator, requires_grad=True)
        for heads in (9, 3, 3, 9)
    )

    def run(backend: str) -> None:
        (attend(q, k, v, mask, backend=backend) * weight).sum().backward(inputs=[q, k, v])

    return {backend: (lambda backend=backend: run(backend)) for backend in ("sdpa", "segments")}  # type: ignore[misc]


def interleave(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, round robin; one round more than asked for, the first dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in seconds.items()}


def ratios(seconds: dict[str, list[float]], pairs: dict[str, tuple[str, str]]) -> dict[str, float]:
    """Minimum of the first over minimum of the second, by name."""
    return {name: round(min(seconds[a]) / min(seconds[b]), 3) for name, (a, b) in pairs.items()}


def measure(length: int, block: int, repeats: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sections of the report, each as soon as it is known."""
    for views in (1, 2):
        seconds = interleave(attention_alone(length, block, views), max(repeats, 5))
        gain = ratios(seconds, {"segments against sdpa": ("sdpa", "segments")})
        yield f"attention alone, {views + 1}L", {"seconds": seconds, "ratios": gain}

    step = Step(length, block)
    yield "agreement", check(step)

    seconds = interleave({arm.name: (lambda arm=arm: step(arm)) for arm in ARMS}, repeats)  # type: ignore[misc]
    pairs = {
        "2 x 2L: segments against sdpa": ("2 x 2L, sdpa", "2 x 2L, segments"),
        "3L: segments against sdpa": ("3L, sdpa", "3L, segments"),
        "segments: 3L against 2 x 2L": ("2 x 2L, segments", "3L, segments"),
        "sdpa: 3L against 2 x 2L": ("2 x 2L, sdpa", "3L, sdpa"),
        "3L with segments against 2 x 2L with sdpa": ("2 x 2L, sdpa", "3L, segments"),
    }
    yield "optimiser step", {"seconds": seconds, "ratios": ratios(seconds, pairs)}


def markdown_table(report: dict[str, Any]) -> str:
    """All ratios of a report, and the best times behind them."""
    lines = ["| what | comparison | times as fast | seconds, best of each |", "|---|---|---|---|"]
    for section, content in report.items():
        if not isinstance(content, dict) or "ratios" not in content:
            continue
        best = ", ".join(f"{name}: {min(values):.2f}" for name, values in content["seconds"].items())
        for name, ratio in content["ratios"].items():
            lines.append(f"| {section} | {name} | {ratio:.2f} | {best} |")
            best = ""
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--length", type=int, default=1024, help="L, clean tokens (default 1024)")
    parser.add_argument("--block", type=int, default=32, help="D, diffusion block size (default 32)")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads")
    parser.add_argument("--output", type=Path, default=RESULTS / "attention_step.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()

    report: dict[str, Any] = {
        "model": "smollm2-135m-instruct, float32, all weights trained, AdamW",
        "length": options.length,
        "block": options.block,
        "environment": environment("cpu"),
    }
    for section, content in measure(options.length, options.block, options.repeats):
        report[section] = content
        print(section, json.dumps(content.get("ratios", content)), flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
