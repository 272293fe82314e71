"""Triton kernels for parallel decoding of autoregressive models, each beside its torch reference."""

__version__ = "0.1.0"
