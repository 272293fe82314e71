"""Training a causal model for parallel decoding.

ar-train run jacobi_forcing --config tiny train.lr=1e-3
tune run dlm_text/jacobi_forcing/recipes/jacobi_forcing.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m dlm_text.jacobi_forcing.recipes.jacobi_forcing --config tiny
"""

import sys

from ar_core.training import recipe_main

from dlm_text.jacobi_forcing import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
