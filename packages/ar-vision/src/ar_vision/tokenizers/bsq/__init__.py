"""Infinity's tokenizer: multi-scale residual binary spherical quantisation (arXiv 2412.04431, 2406.07548). Imports no torch."""
