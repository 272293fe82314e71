"""Conversion of an autoregressive model to block diffusion.

ar-train run efficient_dlm --config tiny train.lr=1e-3
tune run dlm_text/efficient_dlm/recipes/efficient_dlm.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m dlm_text.efficient_dlm.recipes.efficient_dlm --config tiny
"""

import sys

from ar_core.training import recipe_main

from dlm_text.efficient_dlm import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
