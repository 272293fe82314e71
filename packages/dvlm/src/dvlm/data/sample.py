"""The unit that training consumes."""

from typing import TypedDict

from ..images.inputs import ImageInput

__all__ = ["VisionTextSample"]


class VisionTextSample(TypedDict):
    """One conversation.

    Attributes:
        index: number of the sample in its run, counted from 0 over all epochs; noise is keyed by it.
        tokens: ids, :data:`dvlm.chat.encode.IMAGE` once for each image.
        labels: as long; the id where supervised and -100 elsewhere, not shifted.
        images: in the order of their places.
    """

    index: int
    tokens: list[int]
    labels: list[int]
    images: list[ImageInput]
