"""SAR, self-autoregressive refinement (arXiv 2512.06421): FlexVAR post-trained on its own predictions. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="sar",
    summary="Self-autoregressive refinement of a trained FlexVAR: a second pass over scales that it rolled out itself",
    package="ar_vision.sar.recipes",
    run_config="ar_vision.sar.train:SarRun",
    build="ar_vision.sar.train:build",
)
