"""Refining a trained FlexVAR by SAR.

ar-train run sar --config tiny
torchrun --nproc-per-node 8 -m ar_vision.sar.recipes.sar --config imagenet_256_d16
"""

import sys

from ar_core.training import recipe_main

from ar_vision.sar import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
