"""Next-token training of a vision-language model.

ar-train run vl_autoregressive --config tiny train.lr=1e-3
tune run dvlm/autoregressive/recipes/vl_autoregressive.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m dvlm.autoregressive.recipes.vl_autoregressive --config tiny
"""

import sys

from ar_core.training import recipe_main

from dvlm.autoregressive import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
