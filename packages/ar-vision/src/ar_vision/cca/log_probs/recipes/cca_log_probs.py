"""Log-probabilities of a CCA run's pairs under the model it starts from.

ar-train run cca_log_probs --config tiny stage.shard=1/2
torchrun --nproc-per-node 2 -m ar_vision.cca.log_probs.recipes.cca_log_probs --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.cca import LOG_PROBS as RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
