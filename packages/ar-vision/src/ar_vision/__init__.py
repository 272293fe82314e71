"""Autoregressive image backbones, tokenizers and post-training methods."""

__version__ = "0.1.0"
