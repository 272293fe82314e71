"""Training of an image tokenizer.

ar-train run image_tokenizer --config tiny train.lr=1e-3
tune run ar_vision/tokenizers/training/recipes/image_tokenizer.py --config tiny train.lr=1e-3
torchrun --nproc-per-node 2 -m ar_vision.tokenizers.training.recipes.image_tokenizer --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.tokenizers.training import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
