"""The decoders that work with any causal language model, as the registry lists them. Imports no torch."""

from .registry import Decoder

__all__ = ["JACOBI", "NGRAM"]

NGRAM = Decoder(
    name="ngram",
    summary="Lossless: drafts copied from the context (prompt lookup), verified in the same pass",
    decode="ar_core.verification.decode:decode",
    options="ar_core.verification.decode:NgramOptions",
)

JACOBI = Decoder(
    name="jacobi",
    summary="Lossless: a guessed block iterated to the fixed point that plain decoding would reach",
    decode="ar_core.verification.decode:decode",
    options="ar_core.verification.decode:JacobiOptions",
)
