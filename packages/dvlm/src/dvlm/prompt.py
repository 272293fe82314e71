"""What stands before an answer, as a decoder takes it: expanded ids and the images that they hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .chat.conversation import Turn, check_images
from .chat.encode import ChatEncoder
from .images.inputs import ImageInput
from .images.processor import ImageProcessor
from .inputs import TEXT, Expanded, expand

__all__ = ["VisionPrompt", "encode_prompt"]


@dataclass(frozen=True)
class VisionPrompt:
    """A prompt of P positions."""

    expanded: Expanded
    """Its ids, image rows and positions; labels are all -100."""
    images: tuple[ImageInput, ...]
    """Its images in the order of their places; run the tower over them once."""

    def __len__(self) -> int:
        return len(self.expanded)

    @property
    def is_image(self) -> Tensor:
        """Where an image stands, bool [P]."""
        return self.expanded.image_rows != TEXT


def encode_prompt(
    turns: Sequence[Turn],
    pictures: Sequence[np.ndarray],
    encoder: ChatEncoder,
    processor: ImageProcessor,
    *,
    mrope: bool = False,
    place: str = "the prompt",
) -> VisionPrompt:
    """Encode turns and pictures up to the header of the assistant's next turn.

    Pictures stand as :func:`dvlm.chat.conversation.check_images` says.

    Args:
        turns: of the conversation so far.
        pictures: uint8 [H, W, 3] each; none for text alone.
        encoder: of the checkpoint's form of turns.
        processor: of the model, with the fit that is wanted.
        mrope: three-part positions.
        place: names the prompt in messages.

    Raises:
        DataError: there are more or fewer pictures than places for them, more than the processor's limit, or one that cannot be used.
    """
    limit, break_after = processor.config.max_images, encoder.config.break_after_image
    placed = check_images(turns, len(pictures), place, limit=limit, break_after=break_after)
    images = tuple(processor(picture, f"image {number} of {place}") for number, picture in enumerate(pictures, start=1))
    ids = encoder.prompt(placed)
    return VisionPrompt(expand(ids, None, [image.layout for image in images], mrope=mrope), images)
