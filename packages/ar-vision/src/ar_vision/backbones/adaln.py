"""Parts of next-scale transformers whose layer norms are driven by the condition: VAR, FlexVAR, Infinity.

Shapes: R rows, n tokens of a pass, C width, H heads, D = C / H head dimension. The condition is one vector a row, [R, C], and
reaches every block by scales, shifts and gates of its layer norms (adaLN, arXiv 2212.09748).
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from ar_core.masks import Mask
from torch import Generator, Tensor, nn

__all__ = [
    "AdaFeedForward",
    "AdaHead",
    "ConditionLinear",
    "ConditionOffset",
    "DropPath",
    "HeadPrecision",
    "ScaleAttention",
    "initialize_linear",
    "modulate",
]

HeadPrecision = Literal["fp32", "autocast"]
"""Dtype of the output head: fp32, also of weights of 16 bits, as VAR and Infinity compute it; or the weights' own, and autocast's
under autocast, as FlexVAR does."""

LARGEST_LOG_SCALE = math.log(100)
"""Where the learned log of the attention's temperature is cut off."""

_ALIGNED = 16
"""Columns that a head's bias takes beside its matrix: one would do, but rows of odd length are slow to read."""


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LN(x) (1 + scale) + shift, with a layer norm that has no weights and eps 1e-6.

    Args:
        x: [R, n, C].
        scale: [R, 1, C].
        shift: [R, 1, C].
    """
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class ConditionLinear(nn.Module):
    """Linear(SiLU(condition)) as several vectors of the width: 6 for a block, 2 for a head.

    Of a block they are, in the published order, gate of attention and of feed-forward (gamma), scale of both, shift of both;
    of a head scale and shift.

    Args:
        width: C.
        parts: P.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(width, parts * width)

    def forward(self, condition: Tensor) -> Tensor:
        """Return [R, 1, P, C] of the condition [R, C]."""
        out: Tensor = self.linear(F.silu(condition)).unflatten(-1, (1, self.parts, -1))
        return out


class ConditionOffset(nn.Module):
    """A learned offset to a modulation that all blocks share (``ada_gss``; VAR-d36 and Infinity).

    Args:
        width: C.
        parts: P.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1, 1, parts, width))

    def forward(self, shared: Tensor) -> Tensor:
        """Return [R, 1, P, C] of the shared modulation [R, 1, P, C]."""
        return shared + self.offset


class DropPath(nn.Module):
    """Stochastic depth: in training, a row's residual branch is zero with probability ``rate``, else divided by 1 - rate.

    Draws from the global generator as ``nn.Dropout`` does, which training sets from the step.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return [R, n, C] as given, or with the branches of some rows left out."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1).bernoulli_(keep).div_(keep)


class ScaleAttention(nn.Module):
    """Self-attention with bias on queries and values only and, by default, queries and keys of length 1.

    With the latter, logits of head h are exp(min(s_h, ln 100)) cos(q, k) with a learned s_h, initially ln 4. Without it they
    are q k / (4 sqrt(D)).

    Args:
        width: C.
        heads: H.
        l2_norm: whether queries and keys are normalised.
    """

    def __init__(self, width: int, heads: int, *, l2_norm: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.scale = 1.0 if l2_norm else 0.25 / math.sqrt(width // heads)
        self.log_scale = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4))) if l2_norm else None
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        *,
        layer: int,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
        rotate: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Attend over the pass and what the cache holds.

        Args:
            x: [R, n, C].
            layer: index of the layer in the cache.
            cache: takes this pass's keys and values and shows the earlier ones.
            mask: who may see whom; None: everything is visible, as in a pass over one scale.
            rotate: rotary embedding of queries and keys [R, H, n, D], applied after normalisation and before the cache.

        Returns:
            [R, n, C].
        """
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        packed = F.linear(x, self.qkv.weight, bias)
        q, k, v = packed.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        if self.log_scale is not None:
            temperature = self.log_scale.clamp(max=LARGEST_LOG_SCALE).exp()
            q, k = F.normalize(q.float(), dim=-1) * temperature, F.normalize(k.float(), dim=-1)
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        q, k = q.to(v.dtype), k.to(v.dtype)
        if cache is not None:
            k, v = cache.update(layer, k, v)
        attended = attend(q, k, v, mask, scale=self.scale)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class AdaFeedForward(nn.Module):
    """Linear, GELU (tanh approximation), Linear.

    Args:
        width: C.
        hidden: width between the two.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [R, n, C] of [R, n, C]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class AdaHead(nn.Module):
    """The modulated last layer norm and the output matrix.

    Args:
        width: C.
        outputs: V, or two per bit.
        precision: dtype that it is computed in.
    """

    def __init__(self, width: int, outputs: int, precision: HeadPrecision = "fp32") -> None:
        super().__init__()
        self.precision = precision
        self.modulation = ConditionLinear(width, 2)
        self.linear = nn.Linear(width, outputs)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Return logits [R, n, V] of hidden states [R, n, C] under the condition [R, C]; float32 or better with ``fp32``."""
        with self.autocast(hidden):
            normed = self._normed(hidden, condition)
            return F.linear(normed, *(part.to(normed.dtype) for part in (self.linear.weight, self.linear.bias)))

    def as_matrix(self, hidden: Tensor, condition: Tensor) -> tuple[Tensor, LinearHead]:
        """Return the same as hidden states [R, n, C + 16] and one matrix without bias, for losses that hold no [R, n, V].

        To be used inside :meth:`autocast`.
        """
        with self.autocast(hidden):
            normed = self._normed(hidden, condition)
            ones = F.pad(normed.new_ones(*normed.shape[:-1], 1), (0, _ALIGNED - 1))
            weight = torch.cat([self.linear.weight, F.pad(self.linear.bias[:, None], (0, _ALIGNED - 1))], dim=1)
            return torch.cat([normed, ones], dim=-1), LinearHead(weight.to(normed.dtype))

    def autocast(self, hidden: Tensor) -> torch.autocast | nullcontext[None]:
        """Return the context in which the head is computed: none, or autocast switched off."""
        return torch.autocast(hidden.device.type, enabled=False) if self.precision == "fp32" else nullcontext()

    def _normed(self, hidden: Tensor, condition: Tensor) -> Tensor:
        if self.precision == "fp32":
            hidden = hidden.to(torch.promote_types(self.linear.weight.dtype, torch.float32))
        scale, shift = self.modulation(condition.to(self.linear.weight.dtype)).unbind(2)
        return modulate(hidden, scale, shift)


def initialize_linear(module: nn.Module, std: float, generator: Generator) -> None:
    """Draw every linear and embedding matrix of a module from N(0, std), cut off at 2, and set every bias to zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=std, generator=generator)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
