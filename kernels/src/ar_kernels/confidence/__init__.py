"""Confidence of predictions: which token, how probable, how spread out the rest, how far ahead of the runner-up."""

from ar_kernels.confidence.from_hidden import confidence_from_hidden
from ar_kernels.confidence.from_logits import confidence
from ar_kernels.confidence.result import Confidence

__all__ = ["Confidence", "confidence", "confidence_from_hidden"]
