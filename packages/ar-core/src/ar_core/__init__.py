"""Masks, attention, windowed KV cache, corruption, block diffusion, verification and training for multi-token generation."""

__version__ = "0.1.0"
