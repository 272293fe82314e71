"""Which scales fit images of a size."""

from collections.abc import Sequence

from ar_core.errors import ConfigError

from ..scales import ScaleSchedule

__all__ = ["schedule_of_images"]


def schedule_of_images(
    scales: Sequence[int | Sequence[int]] | None, size: tuple[int, int], downsampling: int
) -> ScaleSchedule:
    """Return the scales of a config, which must end with the grid of the images' codes.

    Args:
        scales: ``method.scales``, as `ScaleSchedule.of` takes them; None is that grid alone.
        size: ``data.size``, (H, W).
        downsampling: pixels per code of the tokenizer, in each direction.

    Raises:
        ConfigError: the size is no multiple of the downsampling, or the scales end with another grid.
    """
    height, width = size
    if height % downsampling or width % downsampling:
        raise ConfigError(
            f"data.size is {height} x {width} and a code of the tokenizer stands for {downsampling} x {downsampling} pixels: give "
            f"multiples of {downsampling}"
        )
    grid = (height // downsampling, width // downsampling)
    schedule = ScaleSchedule((grid,)) if scales is None else ScaleSchedule.of(scales)
    if schedule.sizes[-1] != grid:
        raise ConfigError(
            f"method.scales ends with {schedule.height} x {schedule.width} and the tokenizer makes {grid[0]} x {grid[1]} codes of "
            f"{height} x {width} pixels: end with that grid, or change data.size"
        )
    return schedule
