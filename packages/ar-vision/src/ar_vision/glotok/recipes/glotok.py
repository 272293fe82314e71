"""Training of a GloTok tokenizer.

ar-train run glotok --config tiny method.histogram_weight=0.1
tune run ar_vision/glotok/recipes/glotok.py --config tiny
torchrun --nproc-per-node 2 -m ar_vision.glotok.recipes.glotok --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.glotok import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
