"""Images as a tokenizer's codes, made once and trained on many times. Imports no torch."""

from ar_core.registry import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="image_codes",
    summary="Encode a data set of pictures with a tokenizer, once for all epochs and runs",
    package="ar_vision.data.codes.recipes",
    run_config="ar_vision.data.codes.stage:ImageCodesRun",
    build="ar_vision.data.codes.stage:build",
    makes="data",
)
