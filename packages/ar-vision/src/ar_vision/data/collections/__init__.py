"""Pictures as they lie on the disk: each container is a sequence of the same records."""

from .open import detect_kind, open_pictures
from .pictures import Picture, Pictures

__all__ = ["Picture", "Pictures", "detect_kind", "open_pictures"]
