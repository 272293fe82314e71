"""CCA: fine-tuning on pairs of classes, so that sampling needs no guidance.

ar-train run cca --config tiny method.negative_weight=10
tune run ar_vision/cca/recipes/cca.py --config tiny method.negative_weight=10
torchrun --nproc-per-node 2 -m ar_vision.cca.recipes.cca --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.cca import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
