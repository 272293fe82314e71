"""The command that draws images from a checkpoint."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from ar_core.command_result import CommandResult, PictureSheet
from ar_core.config import expand_path
from ar_core.data.progress import track
from ar_core.errors import ConfigError
from ar_core.io import atomic_file
from ar_core.sampling import row_seed
from torch import Tensor

from ..pixels import to_bytes
from .drawn_images import cycled
from .generation import ImageGenerator
from .picture_grid import picture_sheet
from .protocol import ProtocolConfig, protocol_identity
from .report import check_target, described, write_report
from .sample_files import form_of, write_samples
from .sampling import chunks_beside, drawn, generator_of, round_of
from .sampling_config import SamplingConfig, refuse_set

__all__ = ["ImageConfig", "draw_images"]

MOST_OF_A_GRID = 1024


@dataclass(frozen=True, kw_only=True)
class ImageConfig(SamplingConfig):
    """Which images, and where they go.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    output: Path
    """A .png is one grid of all images; an .npz holds ``arr_0`` uint8 [N, H, W, 3] and ``labels``; a name of no other file is a folder of
    pictures, one folder a class (of prompts: round after round of them, without labels). Settings and environment go beside it into OUTPUT.json."""

    count: int | None = None
    """Images in all, label after label or prompt after prompt in rounds; null: one round."""

    columns: int = 10
    """Of the grid."""

    class_names: tuple[str, ...] | None = None
    """Words above the images of a grid, one for each class (or prompt); null writes the numbers, or the prompts."""

    scales: bool = False
    """Of a grid: a row for each image, from its first scale to its last."""

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count is {self.count}, but must be at least 1: give how many images to draw")
        if self.columns < 1 or self.batch_size < 1:
            raise ConfigError(
                f"columns is {self.columns} and batch_size {self.batch_size}, but both must be at least 1: give more"
            )
        if form_of(self.output) == "grid":
            refuse_set(self, "shard", "chunk_size", because="a grid is drawn by one run at once")
            if self.scales:
                refuse_set(self, "columns", because="scales shows an image's own in a row")
        elif self.scales:
            raise ConfigError(f"scales shows steps in a grid and output is {str(self.output)!r}: give a .png")
        else:
            refuse_set(
                self, "columns", "class_names", because=f"output is {str(self.output)!r}, which is no grid (.png)"
            )


def draw_images(config: ImageConfig) -> CommandResult:
    """Draw, write, and say what was done.

    Archives and folders are drawn in chunks beside the output, which a killed run goes on with, and which are removed at the end.

    Raises:
        ArError: whatever cannot be used; nothing has been overwritten.
    """
    output = expand_path(str(config.output))
    check_target(output)
    record = output.with_name(f"{output.name}.json")
    check_target(record)
    chunks = chunks_beside(output)
    generator = generator_of(config)
    labels = round_of(config, generator)
    protocol = ProtocolConfig(labels, config.count or len(labels), config.seed)
    sheet = None
    chunks = output.with_name(f"{output.name}.chunks")
    content = {"sampling": protocol_identity(generator, protocol, config.device)}
    if form_of(output) == "grid":
        if protocol.count > MOST_OF_A_GRID:
            raise ConfigError(
                f"{protocol.count} images do not fit in a grid of at most {MOST_OF_A_GRID}: give count or labels, or an .npz"
            )
        sheet = _grid(config, generator, protocol)
        with atomic_file(output) as temporary:
            sheet.sheet.save(temporary, format="PNG")
    else:
        images = drawn(config, generator, protocol, chunks)
        write_samples(output, images)
        content |= {"images": described(images)}
    write_report(record, content, content["sampling"]["device"])
    if sheet is None:
        shutil.rmtree(chunks)
    what = "classes" if generator.prompts is None else "prompts"
    return CommandResult(
        f"{protocol.count} images of {len(set(labels))} {what} by {generator.kind} written to {output}",
        {"output": output, "record": record, "kind": generator.kind, "count": protocol.count, "labels": list(labels)},
        pictures=sheet,
    )


def _grid(config: ImageConfig, generator: ImageGenerator, protocol: ProtocolConfig) -> PictureSheet:
    generator.require(protocol.labels)
    labels = cycled(list(protocol.labels), protocol.count)
    names = generator.prompts if config.class_names is None else config.class_names
    if names is not None and len(names) != generator.classes:
        kind = "classes" if generator.prompts is None else "prompts"
        raise ConfigError(
            f"class_names has {len(names)} names for {generator.classes} {kind}: give one for each, or leave them out"
        )
    shown: list[Tensor] = []
    captions: list[str] = []
    steps = 1
    starts = range(0, len(labels), config.batch_size)
    for start in track(starts, "batches of images", len(starts)):
        batch = labels[start : start + config.batch_size]
        seeds = [row_seed(config.seed, start + place) for place in range(len(batch))]
        between: list[Tensor] = []

        def note(scale: int, features: Tensor, between: list[Tensor] = between) -> None:
            between.append(to_bytes(generator.pixels(features)).cpu())

        images = to_bytes(generator.sample(batch, seeds, on_scale=note if config.scales else None).images).cpu()
        columns = torch.stack(between or [images], dim=1)
        steps = columns.shape[1]
        shown += columns.flatten(0, 1)
        for label in batch:
            captions += [_named(names, label, step, steps) for step in range(steps)]
    return picture_sheet(shown, steps if config.scales else config.columns, captions)


def _named(names: tuple[str, ...] | None, label: int, step: int, steps: int) -> str:
    name = names[label] if names is not None and label < len(names) else str(label)
    return name if steps == 1 else f"{name} {step + 1}/{steps}"
