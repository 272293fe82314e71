"""Hyperparameters of Jacobi Forcing (arXiv 2512.14681), under the paper's symbols."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, refuse_unread, require_positive, require_types
from ar_core.errors import ConfigError

__all__ = ["JacobiForcingConfig", "NoiseSchedule"]


@dataclass(frozen=True)
class NoiseSchedule:
    """Which recorded state of block i stands for it in training.

    Raises:
        ConfigError: a value is of another type or out of range, or an option is given that the kind of schedule never uses.
    """

    kind: Literal["window", "cyclic", "progressive"] = "window"
    """`window`: the state whose noise ratio is nearest the scheduled t_i (paper section 3.2). The other two take states by
    their place from the end of the trajectory, as earlier data of the published repository did: `cyclic`, place
    2 + (i mod (c - 1)) with c = min(horizon, states), said to be what the published coder model saw; `progressive`, place
    min(2 + i, horizon)."""

    window: int = 16
    """w: blocks after which the schedule starts again. Paper: 16 in round 1 (n = 16), 8 in round 2 (n = 32). With
    `mask: noisy_in_window` also the number of blocks that see each other noisy."""

    order: Literal["linear", "random", "reverse"] = "linear"
    """How t runs through the ratios W of the window: rising, drawn at random for each block, or falling. The paper's
    ablation finds rising best and falling worst."""

    endpoint: Literal["inclusive", "exclusive"] = "inclusive"
    """Whether W ends with 1: `inclusive`, linspace(0, 1, w), published code; `exclusive`, (0, 1/w, ..., (w-1)/w), paper."""

    metric: Literal["prefix", "count"] = "prefix"
    """Noise ratio of a state: `prefix`, everything right of its first wrong token over n (published code); `count`, its wrong
    tokens over n (paper)."""

    horizon: int = 8
    """h, of `cyclic` and `progressive`: the furthest place from the end that is taken, at least 2."""

    def __post_init__(self) -> None:
        require_types(self)
        if self.window < 1:
            raise ConfigError(f"window is {self.window}, but must be at least 1: give a number of blocks")
        if self.horizon < 2:
            raise ConfigError(f"horizon is {self.horizon}, but must be at least 2: the last state is no noise")
        refuse_unread(self, "kind", ("window",), "order", "endpoint", "metric")
        refuse_unread(self, "kind", ("cyclic", "progressive"), "horizon")


@dataclass(frozen=True)
class JacobiForcingConfig:
    """What is particular to the method; model, data and optimiser have their own sections.

    The published code is `eos_policy="reference"` with the defaults otherwise; its clean-context trainer is
    `mask="clean_context"`, its window trainer `mask="noisy_in_window", schedule={window: 16}, ar_weight=1`.

    Raises:
        ConfigError: a value is of another type or out of range.
    """

    block_size: int = 16
    """n (N in the published trainer): tokens of a block; that of the trajectories. Paper: 16, then 32."""

    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    """Which state of a trajectory is trained on."""

    mask: Literal["noisy_context", "clean_context", "noisy_in_window"] = "noisy_context"
    """What a noisy block sees of earlier blocks: their noisy copies (paper Fig. 2b, "NC", the default); their clean copies
    (Fig. 2a, as CLLM; the last position of a block is then no student, as published); or, in groups of `schedule.window`
    blocks, noisy copies of its own group and clean ones of those before (the paper's "NC-IC")."""

    ar_weight: float = 10.0
    """lambda: weight of the autoregressive loss beside the consistency loss. Published code: 10 in two trainers and 1 in
    the third; the paper gives no value."""

    temperature: float = 1.0
    """tau of the consistency loss, which is scaled by tau squared. Published code: 1."""

    pc_reduction: Literal["token_mean", "token_mean_over_blocks", "block_sum_mean"] = "token_mean_over_blocks"
    """How the consistency loss of a sample with T blocks and M student tokens is normalised. `token_mean_over_blocks`: sum / M
    / T, then the mean over samples (published code). `block_sum_mean`: sum / T, then the mean over samples (paper Eq. 8).
    `token_mean`: sum over all tokens of the optimiser step / their number."""

    train_prompt: bool = True
    """Whether the autoregressive loss covers the tokens of the prompt. Published code: it does."""

    eos_policy: Literal["strict", "reference"] = "strict"
    """What happens behind the end of the text. `strict`: blocks after the first end-of-sequence token are dropped, what
    follows it inside its block is padding in both copies, and neither loss has a target there. `reference`, published:
    only the last clean block is padded, later blocks are trained on, and the consistency loss runs on behind the end."""

    max_length: int | None = None
    """Most tokens of a packed sample, P + 2Tn; later blocks are dropped, and samples without room for one block left out.
    Null: no limit. Published scripts: 16,384."""

    corrupt_context: int = 128
    """With trajectories made from text: how many tokens before a block its noise is drawn from. Published code: 128."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "block_size", "corrupt_context", "max_logits")
        if not 0 <= self.ar_weight < math.inf:
            raise ConfigError(f"ar_weight is {self.ar_weight}, but a weight is 0 or more: give a weight such as 10")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature is {self.temperature}, but must be positive: give a number such as 1")
        if self.max_length is not None and self.max_length < 2 * self.block_size + 1:
            raise ConfigError(
                f"max_length is {self.max_length} and a sample of one block has at least {2 * self.block_size + 1} tokens: "
                "raise it, or lower block_size"
            )

    @property
    def mask_window(self) -> int | None:
        """The argument of `ar_core.masks.noise_aware_causal` that is this mask."""
        return {"noisy_context": None, "clean_context": 1, "noisy_in_window": self.schedule.window}[self.mask]
