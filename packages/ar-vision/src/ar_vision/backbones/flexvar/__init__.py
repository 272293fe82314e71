"""FlexVAR (arXiv 2502.20313): next-scale prediction without residuals, over any schedule. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="flexvar",
    summary="Class-conditional FlexVAR on stored codes of every side, a schedule drawn for each step",
    package="ar_vision.backbones.flexvar.recipes",
    run_config="ar_vision.backbones.flexvar.train:FlexVarRun",
    build="ar_vision.backbones.flexvar.train:build",
)
