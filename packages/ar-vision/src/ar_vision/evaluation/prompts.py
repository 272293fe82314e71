"""What a text-conditional generator is asked for. Imports no torch."""

from dataclasses import dataclass

__all__ = ["Prompts"]


@dataclass(frozen=True)
class Prompts:
    """Texts, and the shape of the images; see `.sampling_config` for the keys.

    Attributes:
        texts: one round of prompts.
        negative: what guidance leads away from; None: the learned unconditional text.
        text_encoder: folder of a T5; None where the checkpoint needs none.
        size: side of an image in pixels, or its height and width; None: ``ratio`` decides.
        ratio: height over width, of which the nearest one that the model was trained on is taken.
        pixels: of published models: how many, by name (0.06M, 0.25M, 0.60M, 1M); None: 1M.
    """

    texts: tuple[str, ...]
    negative: str | None = None
    text_encoder: str | None = None
    size: int | tuple[int, int] | None = None
    ratio: float = 1.0
    pixels: str | None = None
