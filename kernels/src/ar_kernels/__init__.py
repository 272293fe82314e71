"""Triton kernels for parallel decoding of autoregressive models, each beside its torch reference."""

from ar_kernels.block_attention import block_attention, block_diffusion_attention
from ar_kernels.confidence import Confidence, confidence, confidence_from_hidden
from ar_kernels.flow_velocity import FlowMean, flow_mean, flow_velocity
from ar_kernels.nearest_code import code_of_bits, nearest_bits, nearest_code
from ar_kernels.selected_cross_entropy import (
    selected_cross_entropy,
    selected_soft_cross_entropy,
    sharded_selected_cross_entropy,
)
from ar_kernels.sequence_logprob import sequence_logprob

__all__ = [
    "Confidence",
    "FlowMean",
    "__version__",
    "block_attention",
    "block_diffusion_attention",
    "code_of_bits",
    "confidence",
    "confidence_from_hidden",
    "flow_mean",
    "flow_velocity",
    "nearest_bits",
    "nearest_code",
    "selected_cross_entropy",
    "selected_soft_cross_entropy",
    "sequence_logprob",
    "sharded_selected_cross_entropy",
]

__version__ = "0.1.0"
