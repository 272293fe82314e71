"""Randomness that belongs to the sample: a generator for every (seed, epoch, sample, stream).

Source: ours.
"""

from dataclasses import dataclass
from hashlib import blake2b

import torch

__all__ = ["SampleRng"]


@dataclass(frozen=True)
class SampleRng:
    """Source of the noise of training samples, independent of how samples are batched.

    A batch of eight, two batches of four, two ranks, worker processes, and a resumed run all ask for the same rows
    and so draw the same noise. Values do not depend on the process, the platform's ``hash`` or the device of the
    model.

    Args:
        seed: Seed of the run, any integer of at most 64 bits.
        epoch: Distinguishes passes that number their samples alike; a stream whose sample numbers never repeat uses
            0.
    """

    seed: int
    epoch: int = 0

    def row(self, index: int, stream: str) -> torch.Generator:
        """Return a fresh CPU generator for one sample and one use of randomness.

        Equal arguments give equal generators; any difference gives an unrelated one. torch seeds its CPU generator
        with 32 bits, so two given rows coincide with probability 2**-32.

        Args:
            index: Global number of the sample.
            stream: Name of the use (``"mask"``, ``"level"`` ...), so that one use can change without shifting another.
        """
        return torch.Generator().manual_seed(self.key(index, stream))

    def key(self, index: int, stream: str) -> int:
        """Return the 63-bit seed behind :meth:`row`, for generators that are not torch's."""
        message = f"{self.seed}/{self.epoch}/{index}/{stream}".encode()
        # 63 bits: torch takes seeds as signed 64-bit integers and remaps negative ones.
        return int.from_bytes(blake2b(message, digest_size=8).digest(), "little") >> 1
