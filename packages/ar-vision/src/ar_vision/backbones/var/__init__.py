"""VAR (arXiv 2404.02905): next-scale prediction over residual scales. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="var",
    summary="Class-conditional VAR on stored codes of a multi-scale tokenizer",
    package="ar_vision.backbones.var.recipes",
    run_config="ar_vision.backbones.var.train:VarRun",
    build="ar_vision.backbones.var.train:build",
)
