"""Training of an Infinity.

ar-train run infinity --config tiny train.lr=1e-3
tune run ar_vision/backbones/infinity/recipes/infinity.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m ar_vision.backbones.infinity.recipes.infinity --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.backbones.infinity import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
