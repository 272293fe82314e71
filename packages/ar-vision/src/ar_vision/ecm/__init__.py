"""ECM, efficient control of VAR generators (arXiv 2510.05610): edges, depth and the like for a frozen VAR. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="ecm",
    summary="ECM: adapters that make a frozen VAR follow edges, depth, normals or segments; LoRA, full fine-tuning and CAR beside it",
    package="ar_vision.ecm.recipes",
    run_config="ar_vision.ecm.train:EcmRun",
    build="ar_vision.ecm.train:build",
)
