"""Distilling a VAR or a LlamaGen into a student of one pass.

ar-train run distilled_decoding --config tiny
torchrun --nproc-per-node 2 -m ar_vision.distilled_decoding.recipes.distilled_decoding --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.distilled_decoding import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
