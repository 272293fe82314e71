"""Pictures with captions: photographs and emoji, as the parts read them."""

from dataclasses import replace
from typing import Any

from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.source import Split, build_image_source
from ar_vision.evaluation.image_set import ImageSet, SplitConfig, open_images

from .parts import Folders, part

__all__ = ["captioned_images", "captions", "config_of"]


def captions(name: str, folders: Folders) -> tuple[str, ...]:
    """All captions of the held-out pictures of a part, picture after picture."""
    source = build_image_source(_data(name, folders), seed=0, split="held_out")
    return tuple(text for number in source.chosen for text in source.pictures[int(number)].captions)


def captioned_images(name: str, folders: Folders, split: Split) -> ImageSet:
    """The pictures of a split of a part, under a transform without draws."""
    return open_images(SplitConfig(_data(name, folders), split))


def config_of(name: str) -> Any:
    """The config of a part's run, without what depends on folders."""
    return read_run_config(recipe(part(name).recipe), part(name).config)


def _data(name: str, folders: Folders) -> ImageDataConfig:
    if part(name).data == "emoji":
        return replace(config_of("emoji_tokenizer").data, path=str(folders.emoji))
    held_out = config_of("infinity").data.held_out
    return ImageDataConfig(kind="jsonl", path=str(folders.captioned), size=128, transform="infinity", held_out=held_out)
