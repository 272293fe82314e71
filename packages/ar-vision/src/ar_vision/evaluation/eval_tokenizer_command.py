"""The command that measures the reconstructions of a tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ar_core.command_result import CommandResult, ResultTable
from ar_core.config import expand_path, require_positive
from ar_core.errors import CheckpointError, ConfigError
from ar_core.training.device import choose_device

from ..checkpoint import Loaded, fingerprint, load_checkpoint
from ..scales import ScaleSchedule
from ..tokenizers.training.lpips import load_lpips
from .computing import dtype_name, placed
from .features import FeaturesConfig, open_features
from .image_set import SplitConfig, open_images
from .reconstruction import measure_tokenizer
from .report import check_target, described, features_facts, write_report
from .sampling_config import ComputeDtype

__all__ = ["EvalTokenizerConfig", "evaluate_tokenizer"]


@dataclass(frozen=True, kw_only=True)
class EvalTokenizerConfig:
    """Which tokenizer is measured on which images.

    Raises:
        ConfigError: a value is out of range.
    """

    tokenizer: str
    """Folder of the tokenizer; ``~`` and ``$NAME`` are expanded."""

    images: str | SplitConfig
    """Images that were not trained on: an .npz, a folder, a file, or images.data.path=... images.split=held_out."""

    output: Path
    """The JSON report."""

    scales: tuple[int | tuple[int, int], ...] | None = None
    """Grids that images are quantised on, coarsest first; null: the scales that the checkpoint was trained with, else the one grid
    of the latent features."""

    lpips: str | None = None
    """File of LPIPS with AlexNet features; null leaves the perceptual distance out."""

    lpips_minimum_size: int = 64
    """Smaller images are enlarged to this for LPIPS; part of what the number means."""

    features: FeaturesConfig | None = None
    """Features of the Fréchet distance of reconstructions to originals; null leaves it out."""

    batch_size: int = 32
    """Images of a pass; memory only."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes CUDA if there is one."""

    dtype: ComputeDtype = "auto"
    """That the tokenizer computes in: as its weights are stored, or any other; auto is float32 on a CPU and stored elsewhere."""

    force: bool = False
    """Overwrite the report."""

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        if self.lpips is None and self.lpips_minimum_size != EvalTokenizerConfig.lpips_minimum_size:
            raise ConfigError("lpips_minimum_size was given without lpips, to which it belongs: give lpips")
        if self.output.suffix != ".json":
            raise ConfigError(f"output is {str(self.output)!r} and must end in .json: give another name")


def evaluate_tokenizer(config: EvalTokenizerConfig) -> CommandResult:
    """Measure, write the report, and say the numbers.

    Raises:
        ArError: whatever cannot be used.
    """
    output = expand_path(str(config.output))
    check_target(output, force=config.force)
    device = choose_device(config.device)
    loaded = load_checkpoint(expand_path(config.tokenizer), "tokenizer")
    identity = fingerprint(loaded.model)
    model = placed(loaded, device, config.dtype)
    images = open_images(config.images)
    schedule = _schedule(config, loaded, images.size)
    cell = int(loaded.model.downsampling)  # type: ignore[arg-type]  # a tokenizer, which loading has checked
    grid = (images.size[0] // cell, images.size[1] // cell)
    # Sides that no grid fits are for the tokenizer to refuse.
    if grid != schedule.sizes[-1] and all(side % cell == 0 for side in images.size):
        raise ConfigError(
            f"the scales {schedule} end at {schedule.height}x{schedule.width} and images of {images.size[1]} x {images.size[0]} "
            f"pixels have {grid[0]}x{grid[1]} codes: give scales that end there"
        )
    lpips = None if config.lpips is None else load_lpips(config.lpips, config.lpips_minimum_size).to(device)
    extractor = None if config.features is None else open_features(config.features, str(device))
    found = measure_tokenizer(model, schedule, images, extractor=extractor, lpips=lpips, batch_size=config.batch_size)
    content = {
        "metrics": found,
        "tokenizer": {
            "kind": loaded.family.kind,
            "fingerprint": identity,
            "provenance": dict(loaded.provenance),
        },
        "images": described(images),
        "features": None if extractor is None else features_facts(extractor),
        "settings": {
            "scales": str(schedule),
            "dtype": dtype_name(model),
            "lpips_minimum_size": config.lpips_minimum_size if lpips is not None else None,
        },
    }
    write_report(output, content, str(device))
    return CommandResult(
        f"{images.count} images, report in {output}",
        {"output": output, "count": images.count, **content},
        table=ResultTable(("measure", "value"), tuple((name, f"{value:.4g}") for name, value in found.items())),
    )


def _schedule(config: EvalTokenizerConfig, loaded: Loaded, size: tuple[int, int]) -> ScaleSchedule:
    if config.scales is not None:
        return ScaleSchedule.of(config.scales)
    recorded = loaded.provenance.get("scales")
    if recorded is not None:
        try:
            return ScaleSchedule.of([_grid(part) for part in str(recorded).split(",")])
        except ValueError as error:
            raise CheckpointError(
                f"{loaded.path} records the scales {str(recorded)!r}, which are none: give scales, such as [1,2,4,8]"
            ) from error
    model: Any = loaded.model
    return ScaleSchedule(((size[0] // model.downsampling, size[1] // model.downsampling),))


def _grid(text: str) -> tuple[int, int]:
    """Height and width of a scale as ``str`` of a schedule writes it: ``4`` or ``4x6``."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)
