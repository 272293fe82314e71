"""Conversion of an autoregressive model to a diffusion vision-language model.

ar-train run diffusionvl --config tiny train.lr=1e-3
tune run dvlm/diffusionvl/recipes/diffusionvl.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m dvlm.diffusionvl.recipes.diffusionvl --config tiny
"""

import sys

from ar_core.training import recipe_main

from dvlm.diffusionvl import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
