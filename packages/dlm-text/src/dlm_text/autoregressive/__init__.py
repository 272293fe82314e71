"""Plain causal language modelling: training from scratch, fine-tuning, and decoding one token per pass.

The baseline of every comparison, and the control arm of every conversion. This file imports no torch, so that command
lines can list what there is.
"""

from ar_core.registry import Decoder, Recipe

__all__ = ["DECODER", "RECIPE"]

RECIPE = Recipe(
    name="autoregressive",
    summary="Next-token training, from scratch or fine-tuning: the AR baseline and the control arm",
    package="dlm_text.autoregressive.recipes",
    run_config="dlm_text.autoregressive.train:AutoregressiveRun",
    build="dlm_text.autoregressive.train:build",
)

DECODER = Decoder(
    name="ar",
    summary="One token per forward pass: the AR baseline",
    decode="dlm_text.autoregressive.decode:decode",
    options="dlm_text.autoregressive.decode:AutoregressiveDecoding",
)
