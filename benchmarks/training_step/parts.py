"""What is measured together: one command each, so that a lent device is enough for one at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from .attention_alone import AttentionAlone
from .step import Step
from .subjects import Shapes, Subject, random_qwen2, smollm2

__all__ = ["DRY", "PARTS", "Part"]

LIMITS: Mapping[torch.dtype, Mapping[str, float]] = MappingProxyType(
    {
        torch.float32: {"loss": 1e-5, "gradient": 1e-5, "attention": 1e-5},
        # It keeps 8 bits: one rounding is 4e-3, and every layer adds its own.
        torch.bfloat16: {"loss": 5e-3, "gradient": 5e-2, "attention": 2e-2},
    }
)
"""How far arms may be from the dense one: difference of losses; norm of the difference of gradients over the norm; of
attention alone, the largest error ratio of output and gradients."""


@dataclass(frozen=True)
class Part:
    """One model on one device.

    Attributes:
        described: the model, and what of it is random.
        subject: builds it for L tokens.
        heads: (H, Hkv, D).
        device: where.
        dtype: of weights, gradients and optimiser state.
        length: L, clean tokens.
        block: D, the diffusion block size.
        backends: of its arms, the dense one first.
    """

    described: str
    subject: Callable[[int], Subject]
    heads: tuple[int, int, int]
    device: str
    dtype: torch.dtype
    length: int
    block: int
    backends: tuple[str, ...]

    def head(self) -> dict[str, Any]:
        """What a result says of it."""
        return {
            "model": self.described,
            "step": "Fast-dLLM v2, both complementary views, head and loss on targets only, clipping, fused AdamW",
            "length": self.length,
            "block": self.block,
            "limits": dict(LIMITS[self.dtype]),
        }

    def attention_alone(self) -> AttentionAlone:
        """The attention of one of its layers."""
        return AttentionAlone(self.heads, self.length, self.block, self.device, self.dtype, LIMITS[self.dtype])

    def step(self) -> Step:
        """Its optimiser steps."""
        return Step(self.subject(self.length), self.block, self.device, LIMITS[self.dtype])


QWEN_1_5B = Shapes(1536, 8960, layers=28, heads=(12, 2, 128), vocab=151936, tied=True)
QWEN_7B_12 = Shapes(3584, 18944, layers=12, heads=(28, 4, 128), vocab=152064, tied=False)
TINY = Shapes(32, 48, layers=2, heads=(2, 1, 16), vocab=100, tied=True)


def _on_cuda(described: str, shapes: Shapes) -> Part:
    return Part(
        described=f"{described}; random weights and tokens; bfloat16 weights, gradients and optimiser state",
        subject=random_qwen2(shapes, torch.bfloat16, "cuda"),
        heads=shapes.heads,
        device="cuda",
        dtype=torch.bfloat16,
        length=2048,
        block=32,
        backends=("sdpa", "segments", "flex", "triton"),
    )


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "cpu_smollm2": Part(
            described="SmolLM2-135M-Instruct, all weights trained, on text; float32",
            subject=smollm2,
            heads=(9, 3, 64),
            device="cpu",
            dtype=torch.float32,
            length=1024,
            block=32,
            # FlexAttention has no backward pass on a CPU.
            backends=("sdpa", "segments"),
        ),
        "cuda_1.5b": _on_cuda("shapes of Qwen2.5-1.5B, all 28 layers", QWEN_1_5B),
        "cuda_7b": _on_cuda(
            "shapes of Qwen2.5-7B, 12 of its 28 layers: with all of them, weights, optimiser state and activations do not fit "
            "one device of 80 GB",
            QWEN_7B_12,
        ),
    }
)
"""By name."""

DRY = Part(
    described="a tiny Qwen2; random weights and tokens; float32",
    subject=random_qwen2(TINY, torch.float32, "cpu"),
    heads=TINY.heads,
    device="cpu",
    dtype=torch.float32,
    length=40,
    block=8,
    backends=("sdpa", "segments", "triton"),
)
"""All that a CPU can run, in seconds; the kernel where Triton's interpreter is on."""
