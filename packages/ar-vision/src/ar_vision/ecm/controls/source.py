"""Stored codes with the control map of every sample beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.config import to_dict
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError

from ...data.codes.source import CodeSource
from ...data.collections import Pictures, open_pictures
from ...data.config import ImageDataConfig
from ...data.decoded import decoded_pictures, picture_key, worth_keeping
from ...data.transforms import Transform, views
from .config import ControlConfig
from .maps import open_maps
from .views import map_views

__all__ = ["MapsBeside", "with_maps"]


class MapsBeside:
    """What stands beside the codes of a sample: the very augmentation of its picture, or of its map, that the codes were made of.

    ``kind``: number of the control, drawn evenly for each sample (stream "kind"; where an evaluation asks, they take turns). ``image``, uint8
    [3, H, W], where its map is extracted from it; ``map``, of the same shape, where it is read.

    Args:
        made: identity of the stored codes.
        keys: of their pictures.
        pictures: the pictures, in the same order.
        controls: T kinds.
        maps: of each, the maps in the order of the pictures; None where they are extracted.
    """

    def __init__(
        self,
        made: Mapping[str, Any],
        keys: Any,
        pictures: Pictures,
        controls: Sequence[ControlConfig],
        maps: Sequence[Pictures | None],
    ) -> None:
        self.pictures, self.controls, self.maps, self._keys = pictures, tuple(controls), tuple(maps), keys
        size = made["data"]["size"]
        self._transform = Transform(made["data"]["transform"], (size, size) if isinstance(size, int) else tuple(size))
        self._view, self._crops = made["method"]["views"], tuple(made["method"]["crop_scales"])
        self._background = tuple(made["data"]["background"])

    def __call__(self, index: int, number: int, view: int, rng: SampleRng | None) -> Mapping[str, Any]:
        """Return the entries of a sample.

        Raises:
            DataError: the picture is not the one that the codes were made of, or a picture or map cannot be read.
        """
        kind = (index if rng is None else rng.key(index, "kind")) % len(self.controls)
        picture, maps = self.pictures[number], self.maps[kind]
        pixels = picture.pixels(self._background)
        if picture_key(pixels) != int(self._keys[number]):
            raise DataError(
                f"{picture.place} is not the picture that the codes number {number} were made of: give the pictures that were encoded"
            )
        if maps is None:
            image = views(pixels, self._transform, self._view, picture.place, self._crops)[view]
            return {"kind": kind, "image": image}
        found, size = maps[number], (pixels.shape[0], pixels.shape[1])
        made = map_views(
            found.pixels(self._background),
            size,
            self.controls[kind].kind,
            self._transform,
            self._view,
            found.place,
            self._crops,
        )
        return {"kind": kind, "map": made[view]}


def with_maps(codes: CodeSource, data: str | None, controls: Sequence[ControlConfig]) -> CodeSource:
    """Return stored codes whose samples have what their control maps are made of.

    Args:
        codes: of the recipe `image_codes`.
        data: the pictures that were encoded: a file, a folder or a pattern; None where they were drawn.
        controls: T kinds.

    Raises:
        ConfigError: a kind can only be read, and no maps are given.
        DataError: the codes do not say which pictures they are of, or those are others; or maps are missing.
    """
    made = codes.stored.identity
    if "fingerprint" not in made.get("data", {}):
        raise DataError(
            "the codes do not say which pictures they were made of, as those in LlamaGen's published layout: encode the pictures with the "
            "recipe image_codes"
        )
    for one in controls:
        if one.extracted and one.kind not in ("canny", "edges"):
            raise ConfigError(
                f"maps of the kind {one.kind!r} are not extracted while training: give maps, which `ar-decode control-maps` makes"
            )
    settings = {name: made["data"][name] for name in ("size", "transform", "image_field", "label_field")}
    if isinstance(settings["size"], list):
        settings["size"] = tuple(settings["size"])
    if data is None:
        settings |= {"kind": "shapes", "count": made["data"]["pictures"]}
    config = ImageDataConfig(path=data, background=tuple(made["data"]["background"]), **settings)
    pictures = open_pictures(config)
    if pictures.fingerprint != made["data"]["fingerprint"]:
        raise DataError(
            f"{'kind shapes' if data is None else repr(data)} holds other pictures than the codes were made of: give the pictures that were "
            "encoded, as data.pictures"
        )
    maps = [None if one.maps is None else open_maps(one.maps, pictures) for one in controls]
    count = len(codes.stored)
    if any(one is None for one in maps) and worth_keeping(pictures, count, config.background):
        pictures = decoded_pictures(config, pictures, count)
    kinds = [
        {**to_dict(one.made_by), "maps": None if found is None else found.fingerprint}
        for one, found in zip(controls, maps)
    ]
    return codes.with_beside(MapsBeside(made, codes.stored.keys, pictures, controls, maps), {"controls": kinds})
