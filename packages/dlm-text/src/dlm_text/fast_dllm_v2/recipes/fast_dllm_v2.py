"""Conversion of an autoregressive model to block diffusion.

ar-train run fast_dllm_v2 --config tiny train.lr=1e-3
tune run dlm_text/fast_dllm_v2/recipes/fast_dllm_v2.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m dlm_text.fast_dllm_v2.recipes.fast_dllm_v2 --config tiny
"""

import sys

from ar_core.training import recipe_main

from dlm_text.fast_dllm_v2 import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
