"""LlamaGen from scratch: next-code prediction in raster order.

ar-train run llamagen --config tiny train.lr=1e-3
tune run ar_vision/backbones/llamagen/recipes/llamagen.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m ar_vision.backbones.llamagen.recipes.llamagen --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.backbones.llamagen import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
