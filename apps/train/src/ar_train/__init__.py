"""Train: a config in, a run out."""

__version__ = "0.1.0"
