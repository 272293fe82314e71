"""Infinity: bits of scale after scale from a text (arXiv 2412.04431). This file imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="infinity",
    summary="Infinity: bitwise next-scale prediction from a text, with bitwise self-correction",
    package="ar_vision.backbones.infinity.recipes",
    run_config="ar_vision.backbones.infinity.train:InfinityRun",
    build="ar_vision.backbones.infinity.train:build",
)
