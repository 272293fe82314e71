"""Next-token training, from scratch or fine-tuning.

ar-train run autoregressive --config tiny train.lr=1e-3
tune run dlm_text/autoregressive/recipes/autoregressive.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m dlm_text.autoregressive.recipes.autoregressive --config tiny
"""

import sys

from ar_core.training import recipe_main

from dlm_text.autoregressive import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
