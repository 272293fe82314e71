"""Next-token training on images and text: stage 1 of route 2, and the AR control arm. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="vl_autoregressive",
    summary="Next-token training of a vision-language model: stage 1 of DiffusionVL's route 2, and the AR control arm",
    package="dvlm.autoregressive.recipes",
    run_config="dvlm.autoregressive.train:AutoregressiveVLRun",
    build="dvlm.autoregressive.train:build",
)
