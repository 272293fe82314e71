"""The learning rate as a function of the step: nothing to save, nothing to resume."""

import math

from .config import TrainConfig

__all__ = ["lr_fraction"]


def lr_fraction(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step as a fraction of the peak.

    Warm-up is linear: step n (counted from 0) of ``warmup_steps`` runs at (n + 1) / warmup_steps. The decay then
    goes from 1 at the first step after warm-up and ``hold_steps`` to ``final_lr_fraction`` after the last step of the run.

    Args:
        config: The run; ``past_steps`` of its schedule lie before it.
        step: Number of the step, from 0 to ``config.steps - 1``.
    """
    step += config.past_steps
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    begin = config.warmup_steps + config.hold_steps
    if config.schedule == "constant" or step < begin:
        return 1.0
    progress = (step - begin) / (config.past_steps + config.steps - begin)
    left = 1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return config.final_lr_fraction + (1 - config.final_lr_fraction) * left
