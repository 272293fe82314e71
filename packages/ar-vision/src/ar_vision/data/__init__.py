"""Image data: containers to pictures, pictures to images, images to the endless sample stream of a run, or to stored codes."""

from .collections import Picture, Pictures, open_pictures
from .config import ImageDataConfig
from .reading import read_picture
from .source import ImageSource, build_image_source
from .transforms import Transform, views

__all__ = [
    "ImageDataConfig",
    "ImageSource",
    "Picture",
    "Pictures",
    "Transform",
    "build_image_source",
    "open_pictures",
    "read_picture",
    "views",
]
