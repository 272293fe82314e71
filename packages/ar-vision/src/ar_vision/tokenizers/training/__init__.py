"""Training of image tokenizers: reconstruction, perception, a discriminator, and a codebook that stays in use.

This file imports no torch, so that command lines can list what there is.
"""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="image_tokenizer",
    summary="Train an image tokenizer: pixel, LPIPS, PatchGAN and codebook losses, revival of unused codes",
    package="ar_vision.tokenizers.training.recipes",
    run_config="ar_vision.tokenizers.training.train:TokenizerRun",
    build="ar_vision.tokenizers.training.train:build",
)
