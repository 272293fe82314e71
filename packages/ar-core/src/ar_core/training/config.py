"""Settings of a training run that are independent of the method."""

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """One training run. The unit is the optimiser step; batch sizes count samples.

    Raises:
        ConfigError: A value is out of range or contradicts another.
    """

    steps: int = 1000
    """Optimiser steps of the whole run."""
    batch_size: int = 8
    """Samples per optimiser step, over all ranks and micro-batches."""
    micro_batch_size: int | None = None
    """Samples per forward pass; None means a rank's whole share at once. Changes memory, not the result (but for models with
    dropout, whose draws are per forward pass)."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.0
    """Decoupled weight decay (times the learning rate), applied to parameters with two or more dimensions only."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's first and second moments."""
    warmup_steps: int = 0
    """Steps of linear warm-up; step n of them runs at n / warmup_steps of the peak."""
    hold_steps: int = 0
    """Steps at the peak between warm-up and what the schedule does."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """What the learning rate does after warm-up and hold, over the remaining steps."""
    final_lr_fraction: float = 0.0
    """Where cosine and linear end, as a fraction of the peak, in [0, 1]."""
    past_steps: int = 0
    """Steps of the learning rate's schedule that lie before this run: warm-up, hold and decay are those of a run of past_steps +
    steps, of which this one is the end. For training that goes on from a checkpoint: the learning rate as if it had never stopped,
    optimiser and order of the data anew. 0 begins a new schedule."""
    clip_norm: float | None = 1.0
    """Largest Euclidean norm of each player's whole gradient; None leaves it as it is."""
    seed: int = 0
    """Seed of everything random: fresh weights and adapters, order of the data, corruption, dropout."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 computes in the dtype of the weights; bf16 runs the forward pass under autocast and leaves weights,
    gradients and optimiser state in their own dtype."""
    ema: float | None = None
    """Decay per step of an exponential moving average of the trained weights, in (0, 1); None keeps none.
    Evaluation and the final model use the average."""
    device: str = "auto"
    """Where the models run: ``cpu``, ``cuda``, ``cuda:1`` ...; auto takes CUDA if there is one, one device a rank."""
    sharding: Literal["none", "fsdp2"] = "none"
    """none keeps all weights in every process; fsdp2 shares weights, gradients, moments and average of what is trained among the
    processes of the run. Last bits may differ, as with another number of processes."""
    sharding_unit: Literal["layer", "model"] = "layer"
    """What fsdp2 makes whole at a time: a layer of the longest stack of equal layers, or all that is trained. An objective that does not
    pass these layers in order, once a forward pass, needs model."""
    num_workers: int = 0
    """Processes per rank that read and prepare whole optimiser steps ahead; 0 prepares in the loop. Same result."""
    checkpoint_dir: str | None = None
    """Directory of checkpoints, ``metrics.jsonl`` and the final model; None writes nothing."""
    checkpoint_every_steps: int | None = None
    """Checkpoint after every so many steps; None leaves it to the clock."""
    checkpoint_every_seconds: float | None = 300.0
    """Checkpoint at the first step that ends so many seconds after the last checkpoint; None leaves it to the
    steps."""
    checkpoint_async: bool = False
    """Write checkpoints beside the steps: the state is copied to host memory, which must hold it once more, and a thread writes
    the copy. Steps wait where the one before is not written yet, and at the end of the run. Same files."""
    keep: int = 2
    """How many of the newest checkpoints stay."""
    log_every: int = 10
    """A line of metrics every so many steps, and at the last one."""
    eval_every: int | None = None
    """Evaluation every so many steps, and at the last one; None never evaluates."""

    best_by: str | None = None
    """Name of an evaluation, such as a held-out loss: the model with its smallest value is kept in ``best`` beside ``final``;
    None keeps the last model only."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "keep", "log_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("micro_batch_size", "checkpoint_every_steps", "eval_every"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "at least 1, or null")
        for name in ("warmup_steps", "hold_steps", "past_steps", "num_workers", "weight_decay"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        self._require("lr", math.isfinite(self.lr) and self.lr > 0, "a positive number")
        self._require("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)")
        self._require("schedule", self.schedule in ("constant", "cosine", "linear"), "constant, cosine or linear")
        self._require("precision", self.precision in ("fp32", "bf16"), "fp32 or bf16")
        self._require("sharding", self.sharding in ("none", "fsdp2"), "none or fsdp2")
        self._require("sharding_unit", self.sharding_unit in ("layer", "model"), "layer or model")
        self._require("final_lr_fraction", 0 <= self.final_lr_fraction <= 1, "in [0, 1]")
        self._require("clip_norm", self.clip_norm is None or self.clip_norm > 0, "positive, or null")
        self._require("ema", self.ema is None or 0 < self.ema < 1, "in (0, 1), or null")
        seconds = self.checkpoint_every_seconds
        self._require("checkpoint_every_seconds", seconds is None or seconds >= 0, "at least 0, or null")
        whole = self.past_steps + self.steps
        if self.warmup_steps > whole:
            raise ConfigError(
                f"warmup_steps is {self.warmup_steps} and steps only {whole}: warm-up must end within the run, "
                "lower it or train longer"
            )
        if self.hold_steps and self.warmup_steps + self.hold_steps >= whole:
            raise ConfigError(
                f"warmup_steps and hold_steps are together {self.warmup_steps + self.hold_steps} and steps only {whole}: "
                "nothing would be left for the schedule, lower them or train longer"
            )
        if self.schedule == "constant" and self.hold_steps:
            raise ConfigError(
                f"hold_steps is {self.hold_steps} and schedule is constant, which holds the peak anyway: choose cosine or "
                "linear, or drop it"
            )
        if self.schedule == "constant" and self.past_steps:
            raise ConfigError(
                f"past_steps is {self.past_steps} and schedule is constant, which does not go on from anything: choose cosine or "
                "linear, or drop it"
            )
        if self.schedule == "constant" and self.final_lr_fraction:
            raise ConfigError(
                f"final_lr_fraction is {self.final_lr_fraction} and schedule is constant, which never uses it: "
                "choose cosine or linear, or drop it"
            )
        if self.best_by is not None and (self.eval_every is None or self.checkpoint_dir is None):
            raise ConfigError(
                f"best_by is {self.best_by!r} and {'eval_every' if self.eval_every is None else 'checkpoint_dir'} is null: "
                "the best model is chosen at evaluations and kept in the directory of the run, set both"
            )
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ConfigError(
                f"micro_batch_size is {self.micro_batch_size} and batch_size only {self.batch_size}: a forward pass "
                "cannot take more samples than an optimiser step has, lower it"
            )

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{name} is {getattr(self, name)!r} and must be {allowed}")
