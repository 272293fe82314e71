"""Collecting the trajectories that Jacobi Forcing trains on.

ar-train run jacobi_trajectories --config tiny stage.shard=1/2
torchrun --nproc-per-node 2 -m dlm_text.jacobi_forcing.trajectories.recipes.jacobi_trajectories --config tiny
"""

import sys

from ar_core.training import recipe_main

from dlm_text.jacobi_forcing import TRAJECTORIES as RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
