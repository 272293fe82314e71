"""The nearest code of a codebook, by distance or by cosine, and the nearest of all vectors of signs."""

from ar_kernels.nearest_code.bits import code_of_bits, nearest_bits
from ar_kernels.nearest_code.nearest import nearest_code

__all__ = ["code_of_bits", "nearest_bits", "nearest_code"]
