"""Fast-dLLM v2 (arXiv 2509.26328): an autoregressive model denoises blocks of tokens in parallel. Imports no torch."""

from ar_core.registry import Decoder, Recipe

__all__ = ["DECODER", "RECIPE"]

RECIPE = Recipe(
    name="fast_dllm_v2",
    summary="Fast-dLLM v2: turn an autoregressive model into a block-diffusion model",
    package="dlm_text.fast_dllm_v2.recipes",
    run_config="dlm_text.fast_dllm_v2.train:FastDLLMv2Run",
    build="dlm_text.fast_dllm_v2.train:build",
)

DECODER = Decoder(
    name="fast_dllm_v2",
    summary="Blocks left to right, the tokens of a block in parallel; needs a converted checkpoint",
    decode="dlm_text.fast_dllm_v2.decode:generate",
    options="dlm_text.fast_dllm_v2.decode:FastDLLMv2DecodeConfig",
)
