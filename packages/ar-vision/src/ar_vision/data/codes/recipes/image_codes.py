"""Encoding a data set of pictures into a tokenizer's codes.

ar-train run image_codes --config tiny stage.shard=1/2
torchrun --nproc-per-node 2 -m ar_vision.data.codes.recipes.image_codes --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.data.codes import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
