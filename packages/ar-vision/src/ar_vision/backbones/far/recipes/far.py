"""Training of FAR.

ar-train run far --config tiny train.lr=1e-3
tune run ar_vision/backbones/far/recipes/far.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m ar_vision.backbones.far.recipes.far --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.backbones.far import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
