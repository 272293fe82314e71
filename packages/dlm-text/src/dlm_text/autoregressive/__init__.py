"""Plain causal language modelling: training from scratch and fine-tuning.

The baseline of every comparison, and the control arm of every conversion. This file imports no torch, so that command
lines can list what there is.
"""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="autoregressive",
    summary="Next-token training, from scratch or fine-tuning: the AR baseline and the control arm",
    package="dlm_text.autoregressive.recipes",
    run_config="dlm_text.autoregressive.train:AutoregressiveRun",
    build="dlm_text.autoregressive.train:build",
)
