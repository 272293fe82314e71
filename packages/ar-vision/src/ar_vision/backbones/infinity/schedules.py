"""The scales of Infinity: fifteen shapes of image, each in four sizes, and own ones for small models.

Facts of arXiv 2412.04431 (section 3.2) and its code: a model of any size uses a prefix of the longest list of its shape, and its
rotary positions are those of the last grid of that list.
"""

from collections.abc import Sequence

from ar_core.errors import ConfigError

from ...scales import ScaleSchedule

__all__ = [
    "RATIOS",
    "SIZES",
    "chosen_schedule",
    "nearest_ratio",
    "position_grid",
    "published_schedule",
    "schedule_of_grid",
]

Sizes = tuple[tuple[int, int], ...]

SIZES = {"0.06M": 7, "0.25M": 10, "0.60M": 12, "1M": 13}
"""Scales of an image of so many pixels (``pn``): 256, 512, 768 and 1024 a side for square ones."""

_TALL: dict[float, Sizes] = {
    1.0: ((1, 1), (2, 2), (4, 4), (6, 6), (8, 8), (12, 12), (16, 16), (20, 20), (24, 24), (32, 32), (40, 40), (48, 48), (64, 64)),
    1.25: ((1, 1), (2, 2), (3, 3), (5, 4), (10, 8), (15, 12), (20, 16), (25, 20), (30, 24), (35, 28), (45, 36), (55, 44), (70, 56)),
    1.333: ((1, 1), (2, 2), (4, 3), (8, 6), (12, 9), (16, 12), (20, 15), (24, 18), (28, 21), (36, 27), (48, 36), (60, 45), (72, 54)),
    1.5: ((1, 1), (2, 2), (3, 2), (6, 4), (9, 6), (15, 10), (21, 14), (27, 18), (33, 22), (39, 26), (48, 32), (63, 42), (78, 52)),
    1.75: ((1, 1), (2, 2), (3, 3), (7, 4), (11, 6), (14, 8), (21, 12), (28, 16), (35, 20), (42, 24), (56, 32), (70, 40), (84, 48)),
    2.0: ((1, 1), (2, 2), (4, 2), (6, 3), (10, 5), (16, 8), (22, 11), (30, 15), (38, 19), (46, 23), (60, 30), (74, 37), (90, 45)),
    2.5: ((1, 1), (2, 2), (5, 2), (10, 4), (15, 6), (20, 8), (25, 10), (30, 12), (40, 16), (50, 20), (65, 26), (80, 32), (100, 40)),
    3.0: ((1, 1), (2, 2), (6, 2), (9, 3), (15, 5), (21, 7), (27, 9), (36, 12), (45, 15), (54, 18), (72, 24), (90, 30), (111, 37)),
}  # fmt: skip

RATIOS: dict[float, Sizes] = {
    **_TALL,
    # A wide shape is named by its ratio cut off behind three digits, as the file names of published data are.
    **{int(1000 / ratio) / 1000: tuple((w, h) for h, w in sizes) for ratio, sizes in _TALL.items() if ratio > 1},
}
"""Height over width of each shape, and its scales (h_k, w_k) from 1x1 to about a million pixels."""


def nearest_ratio(height: float, width: float) -> float:
    """Return the shape whose height over width is nearest to that of an image."""
    return min(RATIOS, key=lambda ratio: abs(ratio - height / width))


def published_schedule(ratio: float, pixels: str) -> ScaleSchedule:
    """Return the scales of a shape and size; an image has 16 pixels a side for each token of the last scale.

    Args:
        ratio: height over width, one of ``RATIOS``.
        pixels: one of ``SIZES``.

    Raises:
        ConfigError: there is none.
    """
    if ratio not in RATIOS:
        raise ConfigError(
            f"the ratio {ratio} was given; the shapes are {', '.join(map(str, sorted(RATIOS)))} (height over width): take "
            f"the nearest, {nearest_ratio(ratio, 1)}"
        )
    if pixels not in SIZES:
        raise ConfigError(f"the size {pixels!r} was given; choose one of {', '.join(SIZES)}")
    return ScaleSchedule(RATIOS[ratio][: SIZES[pixels]])


def position_grid(schedule: ScaleSchedule, own: Sequence[Sizes] | None = None) -> tuple[int, int]:
    """Return the grid whose rows and columns the rotary positions of a schedule count: the last one of the list it begins.

    Args:
        schedule: a prefix of one of the lists.
        own: the lists of a model that was trained on others than the published ones.

    Raises:
        ConfigError: it begins none of them, so that the model was never trained on it; or several, which end differently.
    """
    known = list(RATIOS.values()) if own is None else list(own)
    ends = {sizes[-1] for sizes in known if sizes[: schedule.count] == schedule.sizes}
    if not ends:
        have = "the published ones" if own is None else " and ".join(str(ScaleSchedule(sizes)) for sizes in known)
        raise ConfigError(
            f"the scales {schedule} were given to a model trained on {have}: give one of these, or the first scales of one"
        )
    if len(ends) > 1:
        raise ConfigError(
            f"the scales {schedule} begin {len(ends)} of the model's lists of scales, whose positions differ: give more scales"
        )
    return ends.pop()


def schedule_of_grid(height: float, width: float, own: Sequence[Sizes] | None = None) -> ScaleSchedule:
    """Return the scales that end with a grid of tokens.

    Args:
        height: H.
        width: W.
        own: the lists of a model that was trained on others than the published ones.

    Raises:
        ConfigError: no list has that grid, or no published size ends with it.
    """
    known = [sizes[:count] for sizes in RATIOS.values() for count in SIZES.values()] if own is None else list(own)
    for sizes in known:
        if sizes[-1] == (height, width):
            return ScaleSchedule(sizes)
    ends = ", ".join(f"{h}x{w}" for h, w in sorted({sizes[-1] for sizes in known}))
    raise ConfigError(
        f"images of {height:g}x{width:g} tokens were given and the model's scales end with {ends}: resize them to one of "
        "these, in pixels of a token"
    )


def chosen_schedule(
    own: Sequence[Sizes] | None,
    downsampling: int,
    size: int | tuple[int, int] | None = None,
    ratio: float = 1.0,
    pixels: str | None = None,
) -> ScaleSchedule:
    """Return the scales of images that someone asks for.

    Args:
        own: the lists of a model that was trained on others than the published ones.
        downsampling: pixels of a token.
        size: side of an image in pixels, or its height and width; None: the shape that is nearest to ``ratio``.
        ratio: height over width.
        pixels: of published lists, one of ``SIZES``; None: 1M.

    Raises:
        ConfigError: there is no such size, or pixels are given to a model with lists of its own.
    """
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        return schedule_of_grid(height / downsampling, width / downsampling, own)
    if not ratio > 0:
        raise ConfigError(f"the ratio {ratio} was given; height over width is a positive number, 1 for squares")
    if own is None:
        return published_schedule(nearest_ratio(ratio, 1), pixels or "1M")
    if pixels is not None:
        raise ConfigError(
            f"pixels is {pixels!r} and the model has scales of its own, which end with "
            f"{', '.join('x'.join(map(str, sizes[-1])) for sizes in own)} tokens: leave it out"
        )
    return ScaleSchedule(min(own, key=lambda sizes: abs(ratio - sizes[-1][0] / sizes[-1][1])))
