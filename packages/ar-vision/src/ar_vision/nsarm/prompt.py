"""The text of an image that comes without one. Imports no torch."""

__all__ = ["PROMPT"]

PROMPT = "a sharp and detailed photograph of high quality"
"""What training and decoding take where there is no caption (ours; the published sentence is not known)."""
