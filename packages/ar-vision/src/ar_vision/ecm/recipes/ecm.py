"""Training what controls a frozen VAR: ECM, or a baseline.

ar-train run ecm --config tiny
torchrun --nproc-per-node 8 -m ar_vision.ecm.recipes.ecm --config imagenet_256_d16
"""

import sys

from ar_core.training import recipe_main

from ar_vision.ecm import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
