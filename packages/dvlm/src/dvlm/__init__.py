"""Diffusion vision-language models from autoregressive ones."""

__version__ = "0.1.0"
