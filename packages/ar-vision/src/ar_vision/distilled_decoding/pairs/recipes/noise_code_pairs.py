"""Making the pairs of noise and codes that students are trained on.

ar-train run noise_code_pairs --config tiny
torchrun --nproc-per-node 2 -m ar_vision.distilled_decoding.pairs.recipes.noise_code_pairs --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.distilled_decoding import PAIRS as RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
