"""DiffusionVL (arXiv 2512.15713): an autoregressive model becomes a block-diffusion vision-language model. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="diffusionvl",
    summary="DiffusionVL: turn a vision-language model, or a language model and a tower, into a diffusion one",
    package="dvlm.diffusionvl.recipes",
    run_config="dvlm.diffusionvl.train:DiffusionVLRun",
    build="dvlm.diffusionvl.train:build",
)
