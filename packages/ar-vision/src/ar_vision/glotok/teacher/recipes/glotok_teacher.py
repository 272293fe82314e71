"""Making a teacher for GloTok: cluster centres of a frozen network's patch features.

ar-train run glotok_teacher --config tiny stage.shard=1/2
torchrun --nproc-per-node 2 -m ar_vision.glotok.teacher.recipes.glotok_teacher --config tiny
"""

import sys

from ar_core.training import recipe_main

from ar_vision.glotok import TEACHER as RECIPE

if __name__ == "__main__":
    sys.exit(recipe_main(RECIPE, sys.argv[1:]))
