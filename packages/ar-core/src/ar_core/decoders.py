"""The decoders that work with any causal language model, as the registry lists them. Imports no torch."""

from .registry import Decoder

__all__ = ["AR", "JACOBI", "LOOKUP", "MULTIBLOCK", "RECYCLING"]

AR = Decoder(
    name="ar",
    summary="One token per forward pass: the AR baseline",
    decode="ar_core.decoding.decode:decode",
    options="ar_core.decoding.decode:AutoregressiveOptions",
)

LOOKUP = Decoder(
    name="lookup",
    summary="Lossless: drafts copied from the context (prompt lookup), verified in the same pass",
    decode="ar_core.verification.decode:decode",
    options="ar_core.verification.decode:LookupOptions",
    lossless=True,
)

JACOBI = Decoder(
    name="jacobi",
    summary="Lossless: a guessed block iterated to the fixed point that plain decoding would reach",
    decode="ar_core.verification.decode:decode",
    options="ar_core.verification.decode:JacobiOptions",
    lossless=True,
)

RECYCLING = Decoder(
    name="recycling",
    summary="Lossless: Jacobi iteration that tries rejected n-grams again, as branches of one draft tree",
    decode="ar_core.verification.decode:decode",
    options="ar_core.verification.decode:RecyclingOptions",
    lossless=True,
)

MULTIBLOCK = Decoder(
    name="multiblock",
    summary="Lossless: Jacobi iteration over several blocks at once, each promoted when the one before it is done",
    decode="ar_core.verification.decode:decode",
    options="ar_core.verification.decode:MultiBlockOptions",
    lossless=True,
)
