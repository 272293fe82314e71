"""Turn autoregressive language models into decoders of several tokens per forward pass."""

__version__ = "0.1.0"
