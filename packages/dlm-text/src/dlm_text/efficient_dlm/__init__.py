"""Efficient-DLM (arXiv 2512.14067): block diffusion on clean context, without token shift. Imports no torch."""

from ar_core.registry import Decoder, Recipe

__all__ = ["DECODER", "RECIPE"]

RECIPE = Recipe(
    name="efficient_dlm",
    summary="Efficient-DLM: turn an autoregressive model into a block-diffusion model, or into a hybrid of both",
    package="dlm_text.efficient_dlm.recipes",
    run_config="dlm_text.efficient_dlm.train:EfficientDLMRun",
    build="dlm_text.efficient_dlm.train:build",
)

DECODER = Decoder(
    name="efficient_dlm",
    summary="Blocks from the prompt's end on, all tokens of a block denoised; hybrids also decode losslessly",
    decode="dlm_text.efficient_dlm.decode:generate",
    options="dlm_text.efficient_dlm.decode:EfficientDLMDecodeConfig",
)
