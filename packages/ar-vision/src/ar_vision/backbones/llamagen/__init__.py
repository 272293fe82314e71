"""LlamaGen: a Llama over the codes of an image, row by row (arXiv 2406.06525). This file imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="llamagen",
    summary="LlamaGen: next-code prediction in raster order, from a class or a text",
    package="ar_vision.backbones.llamagen.recipes",
    run_config="ar_vision.backbones.llamagen.train:LlamaGenRun",
    build="ar_vision.backbones.llamagen.train:build",
)
