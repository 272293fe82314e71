"""Training of NSARM's two stages.

ar-train run nsarm --config tiny
torchrun --nproc-per-node 8 -m ar_vision.nsarm.recipes.nsarm --config 8b
"""

import sys

from ar_core.training import recipe_main

from ar_vision.nsarm import RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
