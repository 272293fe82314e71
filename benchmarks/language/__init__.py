"""Conversion of real language models on a small budget: masked losses, tokens per forward, and what it costs the text."""
