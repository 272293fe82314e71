"""FAR: a Llama over pairs of codes, whose head makes the second of a pair from the first (arXiv 2411.16681). Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="far",
    summary="FAR: next-pair prediction in raster order with a factorised head, for tokenizers with two codebooks",
    package="ar_vision.backbones.far.recipes",
    run_config="ar_vision.backbones.far.train:FarRun",
    build="ar_vision.backbones.far.train:build",
)
