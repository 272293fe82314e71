"""The command that shows degradations."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from ar_core.command_result import CommandResult
from ar_core.config import expand_path, require_positive
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.io import atomic_file
from ar_core.pictures import read_picture

from ..data.transforms import to_tensor
from ..evaluation.picture_grid import picture_sheet
from ..evaluation.report import check_target
from .degradation.config import SWEEP, degradation_of, require_degradations
from .degradation.degrade import degrade
from .low_samples import STREAM

__all__ = ["DegradeConfig", "degrade_picture"]


@dataclass(frozen=True, kw_only=True)
class DegradeConfig:
    """Which photograph, in which ways.

    Raises:
        ConfigError: a value is out of range.
    """

    input: str
    """A picture; its sides are cut to multiples of the factor."""

    output: Path
    """A .png, or a smaller .jpg: the photograph, then a row of draws of each degradation, enlarged to its size without smoothing."""

    degradations: tuple[str, ...] = tuple(SWEEP)
    """By name."""

    count: int = 1
    """Draws of each: those of the samples 0, 1, ..."""

    columns: int = 5
    """Of the picture."""

    seed: int = 0
    """Of the draws, as ``train.seed``."""

    def __post_init__(self) -> None:
        require_positive(self, "count", "columns")
        if self.output.suffix.lower() not in (".png", ".jpg"):
            raise ConfigError(f"output is {str(self.output)!r}; give a .png or a .jpg")
        require_degradations(self.degradations)


def degrade_picture(config: DegradeConfig) -> CommandResult:
    """Degrade, write, and say what was done.

    Raises:
        ArError: whatever cannot be used.
    """
    output = expand_path(str(config.output))
    check_target(output)
    chosen = {name: degradation_of(name) for name in config.degradations}
    image = to_tensor(read_picture(expand_path(config.input)))
    factor = max(one.factor for one in chosen.values())
    if min(image.shape[1:]) < factor:
        raise DataError(
            f"{config.input} has {image.shape[2]} x {image.shape[1]} pixels and is reduced {factor} times: give a picture of at least "
            f"{factor} on each side"
        )
    height, width = (side // factor * factor for side in image.shape[1:])
    image = image[:, :height, :width]
    shown, captions = [image], ["photograph"]
    rng = SampleRng(config.seed)
    for name, one in chosen.items():
        for index in range(config.count):
            low = degrade(image, one, rng.row(index, STREAM))
            large = F.interpolate(low[None].float(), size=(height, width), mode="nearest")[0]
            shown.append(large.to(torch.uint8))
            captions.append(name if config.count == 1 else f"{name}, {index}")
    made = picture_sheet(shown, config.columns, captions, enlarge=1)
    with atomic_file(output) as temporary:
        if output.suffix.lower() == ".png":
            made.sheet.save(temporary, format="PNG")
        else:
            made.sheet.save(temporary, format="JPEG", quality=85)
    return CommandResult(
        f"{len(shown) - 1} degradations written to {output}",
        {"output": output, "degradations": list(chosen), "count": len(shown) - 1},
        pictures=made,
    )
