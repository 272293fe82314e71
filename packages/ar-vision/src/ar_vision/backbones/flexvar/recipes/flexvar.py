"""Training FlexVAR on stored codes.

ar-train run flexvar --config tiny tokenizer=DIR data.path=CODES
torchrun --nproc-per-node 8 -m ar_vision.backbones.flexvar.recipes.flexvar --config imagenet_256_d16
"""

import sys

from ar_core.training import recipe_main

from ar_vision.backbones.flexvar import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
