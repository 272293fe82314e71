"""Log-probabilities of whole sequences under an LM head, without a [B, L, V] tensor."""

from ar_kernels.sequence_logprob.sequences import sequence_logprob

__all__ = ["sequence_logprob"]
