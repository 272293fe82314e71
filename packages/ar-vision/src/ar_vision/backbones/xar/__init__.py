"""xAR: autoregression over cells of continuous features, each made by flow matching (arXiv 2502.20388). Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="xar",
    summary="xAR: next-cell prediction by flow matching on a tokenizer's quantised features",
    package="ar_vision.backbones.xar.recipes",
    run_config="ar_vision.backbones.xar.train:XarRun",
    build="ar_vision.backbones.xar.train:build",
)
