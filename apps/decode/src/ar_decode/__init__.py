"""Decode: a checkpoint and prompts in; tokens and statistics out."""

__version__ = "0.1.0"
