"""Pictures as the endless sample stream of a run."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from ar_core.config import to_dict
from ar_core.corruption import SampleRng
from ar_core.data import epoch_order, held_out
from ar_core.errors import ConfigError, DataError

from .collections import Pictures, open_pictures
from .config import ImageDataConfig
from .decoded import decoded_pictures, picture_keys, worth_keeping
from .transforms import Transform

__all__ = ["ImageSource", "LazySample", "Split", "build_image_source", "choose", "ordered", "require_labels"]

Split = Literal["train", "held_out", "all"]
"""Which pictures of a collection: those that are trained on, those that are held out, or both."""


def ordered(seed: int, rows: int, start: int) -> Iterator[tuple[int, int]]:
    """Yield (n, ``order[epoch][n mod rows]``) for n = ``start``, ``start + 1``, ... without end."""
    epoch, first = divmod(start, rows)
    for number in itertools.count(epoch):
        order = epoch_order(seed, number, rows).numpy()
        for place in range(first, rows):
            yield number * rows + place, int(order[place])
        first = 0


class LazySample(Mapping[str, Any]):
    """A sample whose entries but ``index`` are made when the first of them is asked for.

    Every worker and rank walks over all samples of a step and prepares its own: it need not decode the others.

    Args:
        index: number of the sample in its run.
        names: of the other entries.
        make: makes them.
    """

    def __init__(self, index: int, names: tuple[str, ...], make: Callable[[], dict[str, Any]]) -> None:
        self._index, self._names, self._make = index, names, make
        self._made: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        if name == "index":
            return self._index
        if name not in self._names:
            raise KeyError(name)
        if self._made is None:
            self._made = self._make()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name == "index" or name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(("index", *self._names))

    def __len__(self) -> int:
        return 1 + len(self._names)


class ImageSource:
    """Images in an order drawn anew for each epoch; sample n of a run is found without those before it.

    Samples have ``index``; ``image``, uint8 [3, H, W]; ``label``, int64 [], and ``caption``, a text, where the data have them.
    Crops, flips and the choice of a caption belong to the sample: they depend on seed and index alone.

    Args:
        pictures: all pictures.
        chosen: int64 [N], numbers of those in this split.
        transform: from a picture to an image.
        seed: of the orders and draws.
        config: background, and which caption a sample gets.
        facts: what :meth:`describe` adds to count and seed.
    """

    def __init__(
        self,
        pictures: Pictures,
        chosen: np.ndarray,
        transform: Transform,
        seed: int,
        config: ImageDataConfig,
        facts: Mapping[str, Any],
    ) -> None:
        self.pictures, self.chosen, self.transform = pictures, chosen, transform
        self.seed, self._config, self._facts = seed, config, dict(facts)
        self.labels = None if pictures.labels is None else torch.from_numpy(pictures.labels[chosen])
        names = {"image": True, "label": self.labels is not None, "caption": pictures.captioned}
        self._names = tuple(name for name, there in names.items() if there)

    def __len__(self) -> int:
        """N, images in an epoch."""
        return len(self.chosen)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, if they have names."""
        return self.pictures.classes

    def open(self, start: int) -> Iterator[Mapping[str, Any]]:
        """Yield samples ``start``, ``start + 1``, ... without end: sample n is picture ``order[epoch][n mod N]``."""
        rng = SampleRng(self.seed)
        for index, place in ordered(self.seed, len(self), start):
            yield self._sample(index, place, rng)

    def once(self) -> Iterator[Mapping[str, Any]]:
        """Yield every image once, in the order of the data, for evaluation: crops in the middle, no flips, first captions."""
        return (self._sample(index, index, None) for index in range(len(self)))

    def _sample(self, index: int, place: int, rng: SampleRng | None) -> LazySample:
        return LazySample(index, self._names, lambda: self._made(index, place, rng))

    def _made(self, index: int, place: int, rng: SampleRng | None) -> dict[str, Any]:
        picture = self.pictures[int(self.chosen[place])]
        pixels = picture.pixels(self._config.background)
        made: dict[str, Any] = {"image": self.transform(pixels, picture.place, rng, index)}
        if self.labels is not None:
            made["label"] = self.labels[place]
        if self.pictures.captioned:
            captions = picture.captions
            if not captions:
                raise DataError(
                    f"{picture.place} has no caption, which others have: write one, or take it out of the data"
                )
            drawn = rng.key(index, "caption") if rng is not None and self._config.caption == "random" else 0
            made["caption"] = captions[drawn % len(captions)]
        return made

    def describe(self) -> dict[str, Any]:
        """Settings, fingerprint and count."""
        return {**self._facts, "pictures": len(self), "seed": self.seed}


def build_image_source(
    config: ImageDataConfig, *, seed: int, split: Split = "train", num_classes: int | None = None
) -> ImageSource:
    """Build the sample source of a run.

    Args:
        config: what to read, and how a picture becomes an image.
        seed: of the order, crops, flips and captions; the noise of an objective has its own.
        split: the pictures to train on, those held out from training, or both.
        num_classes: classes of the model; None takes pictures without labels, too.

    Raises:
        ConfigError: nothing is held out, or something is asked for that the data do not have.
        DataError: the data cannot be read, the split is empty, or there are no labels below ``num_classes``.
    """
    pictures = open_pictures(config)
    count = min(config.count or len(pictures), len(pictures))
    place = str(config.path or config.kind)
    if config.caption == "random" and not pictures.captioned:
        raise ConfigError(f"data.caption is 'random' and the pictures of {place} have no captions: leave it out")
    require_labels(None if pictures.labels is None else pictures.labels[:count], num_classes, place)
    fingerprint = pictures.fingerprint
    if config.cache or (config.cache is None and worth_keeping(pictures, count, config.background)):
        pictures = decoded_pictures(config, pictures, count)
    keys = picture_keys(config, pictures, count) if config.held_out else None
    chosen = choose(keys, count, config.held_out, split, place)
    transform = Transform(config.transform, config.shape, config.flip, config.shortest_crop)
    # Where data lie, and whether they are kept decoded, changes no sample.
    settings = {
        name: value for name, value in to_dict(config).items() if name not in ("path", "cache", "cache_dir", "kind")
    }
    return ImageSource(
        pictures, chosen, transform, seed, config, {**settings, "split": split, "fingerprint": fingerprint}
    )


def choose(keys: np.ndarray | None, count: int, share: float, split: Split, place: str) -> np.ndarray:
    """Numbers of the pictures of a split.

    Args:
        keys: int64 [count], their hashes; needed where ``share`` is not 0.
        count: how many pictures there are.
        share: of those held out.
        split: which are wanted.
        place: what names the data in messages.

    Returns:
        int64 [N].

    Raises:
        ConfigError: nothing is held out.
        DataError: the split is empty.
    """
    if split == "held_out" and not share:
        raise ConfigError("nothing is held out: set data.held_out to the share to keep from training, such as 0.02")
    if split == "all" or keys is None:
        return np.arange(count)
    kept_away = np.fromiter((held_out({"picture": int(key)}, share) for key in keys), dtype=bool, count=count)
    chosen = np.flatnonzero(kept_away if split == "held_out" else ~kept_away)
    if not len(chosen):
        raise DataError(f"the {split} split of the {count} pictures of {place} is empty: give more, or change held_out")
    return chosen


def require_labels(labels: np.ndarray | None, num_classes: int | None, place: str) -> None:
    """Refuse labels that a model of ``num_classes`` classes does not know.

    Raises:
        DataError: there are none, or one is outside [0, num_classes).
    """
    if num_classes is None:
        return
    if labels is None:
        raise DataError(
            f"the pictures of {place} have no labels and the model needs them: set data.label_field, or use class folders"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"picture {wrong[0]} of {place} has the label {labels[wrong[0]]} and the model knows 0 to {num_classes - 1}: correct "
            "the label, or give the model more classes"
        )
