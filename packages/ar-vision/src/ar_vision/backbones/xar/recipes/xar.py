"""Training of xAR.

ar-train run xar --config tiny train.lr=1e-3
tune run ar_vision/backbones/xar/recipes/xar.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m ar_vision.backbones.xar.recipes.xar --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.backbones.xar import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
