"""Settings of image data. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE
from ar_core.errors import ConfigError

__all__ = ["ImageDataConfig"]


@dataclass(frozen=True)
class ImageDataConfig:
    """Where training images come from, and how a picture becomes an image of ``size``.

    Raises:
        ConfigError: a value is out of range, or a setting is given that the kind of data never uses.
    """

    kind: Literal["auto", "folder", "parquet", "webdataset", "npz", "jsonl", "shapes"] = "auto"
    """``folder``: a folder of pictures, or of one folder a class. ``parquet``: one or more files, a picture a row (bytes, or the
    struct of bytes and path that the `datasets` library writes). ``webdataset``: uncompressed tar shards. ``npz``: arrays of
    pictures of one size. ``jsonl``: records that name a picture file beside them. ``shapes``: drawn pictures, no file at all.
    ``auto`` finds out from the path."""
    path: str | None = None
    """File, folder, or a pattern with ``*`` for several shards; ``~`` and ``$NAME`` are expanded. Kind ``shapes`` has none."""
    size: int | tuple[int, int] = 256
    """Side of an image, or its height and width."""
    transform: Literal["none", "var", "adm_random", "adm_centre", "infinity"] = "none"
    """``none``: the pictures have ``size`` already. ``var``: the shorter side to round(1.125 side), then a random crop.
    ``adm_random``: the shorter side to between side and side / ``shortest_crop``, then a random crop (FlexVAR). ``adm_centre``:
    the shorter side to side, then the middle. ``infinity``: cover height and width, then the middle."""
    flip: bool = False
    """Mirror half of the training images. VAR: false; FlexVAR: true."""
    shortest_crop: float = 0.88
    """``adm_random``: least share of a picture's shorter side that is kept. FlexVAR: 0.88."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB of what shows through transparent pictures."""
    image_field: str | None = None
    """Name of the picture's column, record entry, tar extension or npz array; null takes the usual ones (``image``, ``img``;
    ``file_name``, ``file``, ``image_path``, ``image``; ``jpg``, ``jpeg``, ``png``, ``webp``; ``images``)."""
    label_field: str | None = None
    """Name of the class's column, entry or array; null takes ``label`` (npz: ``labels``; tar: ``cls``) where it is there. Text is
    numbered in sorted order."""
    caption_fields: tuple[str, ...] = ()
    """Names of the captions' columns or entries, each a text or a list of texts; empty takes the first that is there of
    ``captions``, ``caption``, ``text`` and ``long_caption`` (tar: ``txt``)."""
    caption: Literal["first", "random"] = "first"
    """Which of a picture's captions a training sample gets; an evaluation gets the first."""
    count: int | None = None
    """Take only the first ``count`` pictures; how many are drawn, for kind ``shapes``."""
    held_out: float = 0.0
    """Share of the pictures that is never trained on, in [0, 1): decided by a hash of the decoded pixels, so that copies of a
    picture are on the same side, whatever lossless container they come in."""
    cache: bool | None = field(default=None, metadata=FREE)
    """Keep decoded pictures in a memory-mapped file, made once; null does so where they take at most 2 GiB."""
    cache_dir: str | None = field(default=None, metadata=FREE)
    """Folder of decoded pictures; null is ``ar-vision/pictures`` in the user's cache folder."""

    def __post_init__(self) -> None:
        if self.kind == "shapes":
            self._require("path", self.path is None, "null for kind shapes")
            self._require("count", self.count is not None, "how many pictures are drawn, for kind shapes")
        else:
            self._require("path", bool(self.path), f"a file, folder or pattern, for kind {self.kind}")
        self._require("size", min(self.shape) >= 1, "at least 1")
        if self.transform in ("var", "adm_random", "adm_centre"):
            self._require("size", self.shape[0] == self.shape[1], f"one side for the transform {self.transform}")
        if self.transform != "adm_random":
            self._require("shortest_crop", self.shortest_crop == 0.88, "left out but for the transform adm_random")
        self._require("shortest_crop", 0 < self.shortest_crop <= 1, "in (0, 1]")
        self._require("background", all(0 <= part <= 255 for part in self.background), "three numbers of 0 to 255")
        self._require("count", self.count is None or self.count >= 1, "at least 1, or null")
        self._require("held_out", 0 <= self.held_out < 1, "in [0, 1)")
        if self.cache is False:
            self._require("cache_dir", self.cache_dir is None, "null where cache is false")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of an image."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{name} is {getattr(self, name)!r} and must be {allowed}: correct it")
