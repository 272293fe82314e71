"""Triton kernels for parallel decoding of autoregressive models, each beside its torch reference."""

from ar_kernels.confidence import Confidence, confidence

__all__ = ["Confidence", "__version__", "confidence"]

__version__ = "0.1.0"
