"""The command that draws images under control, and says how well they follow it."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ar_core.command_result import CommandResult, PictureSheet
from ar_core.config import expand_path
from ar_core.data.progress import track
from ar_core.errors import ConfigError
from ar_core.io import atomic_file
from ar_core.sampling import row_seed
from ar_core.training import StageConfig
from torch import Tensor

from ..evaluation.drawn_images import cycled
from ..evaluation.generation import ImageGenerator
from ..evaluation.image_set import open_images
from ..evaluation.picture_grid import picture_sheet
from ..evaluation.protocol import ProtocolConfig, draw, protocol_identity
from ..evaluation.reconstruction import require_ssim
from ..evaluation.report import check_target, described, write_report
from ..evaluation.sample_files import form_of, write_samples
from ..evaluation.sampling import chunks_beside
from ..evaluation.sampling_config import ComputeDtype, refuse_set
from ..pixels import to_bytes
from .checkpoint import load_controller
from .controls.config import ControlConfig, ControlKind
from .controls.extract import Extractor, extractor_of
from .fidelity import PROTOCOL, fidelity
from .generation import open_controlled, require_kind
from .picture_maps import PictureMaps, picture_maps

__all__ = ["ControlCommandConfig", "draw_controlled"]

MOST_OF_A_GRID = 1024


@dataclass(frozen=True, kw_only=True)
class ControlCommandConfig:
    """Which control, which images, and where they go.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    adapter: str
    """Folder of the controller, that the recipe `ecm` or `ar-train convert car` wrote; ``~`` and ``$NAME`` are expanded."""

    checkpoint: str
    """Folder of its base."""

    tokenizer: str
    """Folder of the base's tokenizer."""

    images: str | None = None
    """Pictures whose control is extracted: one file, a folder, or any data. Any size and mode: the middle is taken."""

    maps: str | None = None
    """Control maps, in the place of images."""

    output: Path
    """A .png is a grid: a row for each map, which begins with the picture and its map; an .npz or a folder holds the drawn images alone, map after
    map in rounds. Settings, fidelity and environment go beside it into OUTPUT.json."""

    kind: ControlKind | None = None
    """Of the control, of a controller of several; null: its first."""

    detector: str | None = None
    """Folder of the model that extracts depth, normals or segments, in Hugging Face layout (extra ``text``)."""

    labels: tuple[int, ...] | None = None
    """A class for each map, or one for all; null: those of the data, and none where they have none."""

    limit: int = 8
    """Maps at most, the first of the data."""

    variations: int = 4
    """Images of each map."""

    guidance: float | None = None
    """g, 1 means none; null: the decoder's own, as the next ones."""

    temperature: float | None = None
    """T of the first scale."""

    late_temperature: float | None = None
    """T of the last scale."""

    top_k: int | None = None
    """Draw from so many codes."""

    top_p: float | None = None
    """Draw from this much mass."""

    strength: float | None = None
    """s of the control, 0 to 1."""

    decoding: dict[str, Any] = field(default_factory=dict)
    """Other settings of the decoder, such as decoding.active_scales=[0,3]."""

    fidelity: bool = True
    """Extract the control from what was drawn and compare; needs an extractor of the kind."""

    ssim: bool = False
    """Also SSIM of the two, which needs torchmetrics (extra ``eval``) and images of at least 11 pixels a side."""

    seed: int = 0
    """Image i draws from a stream of its own under this seed."""

    batch_size: int = 16
    """Images of a forward pass; changes no image."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes CUDA if there is one."""

    dtype: ComputeDtype = "auto"
    """That all models compute in."""

    def __post_init__(self) -> None:
        if (self.images is None) == (self.maps is None):
            raise ConfigError(
                f"images is {self.images!r} and maps {self.maps!r}: give pictures to extract the control from, or control maps, and not both"
            )
        for name in ("limit", "variations", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1: give more")
        if not self.fidelity:
            refuse_set(self, "ssim", because="fidelity is false")
            if self.maps is not None:
                refuse_set(self, "detector", because="maps are given and fidelity is false")
        if self.labels == ():
            raise ConfigError("labels is empty: give a class for each map, one for all, or null")
        if form_of(self.output) == "grid" and self.limit * self.variations > MOST_OF_A_GRID:
            raise ConfigError(
                f"{self.limit} maps of {self.variations} images do not fit in a grid of at most {MOST_OF_A_GRID}: give fewer, or an .npz"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the decoder that were given."""
        names = ("guidance", "temperature", "late_temperature", "top_k", "top_p", "strength")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        twice = next((name for name in given if name in self.decoding), None)
        if twice is not None:
            raise ConfigError(f"{twice} was given by itself and in decoding: give it once")
        return {**given, **self.decoding}


def draw_controlled(config: ControlCommandConfig) -> CommandResult:
    """Draw, write, and say what was done.

    Raises:
        ArError: whatever cannot be used; nothing has been overwritten.
    """
    output = expand_path(str(config.output))
    record = output.with_name(f"{output.name}.json")
    for target in (output, record):
        check_target(target)
    chunks = chunks_beside(output)
    control, extract, size = _control_of(config)
    if extract is None and (config.images is not None or config.fidelity):
        what = "images" if config.images is not None else "fidelity"
        raise ConfigError(
            f"{what} is {getattr(config, what)!r}, and {control.kind!r} is only found by a model: give its folder as detector, or maps with "
            "fidelity=false"
        )
    if config.ssim:
        require_ssim(size, size)
    source = str(config.maps if config.images is None else config.images)
    asked = picture_maps(source, size, control, extract if config.images is not None else None, count=config.limit)
    labels = _labels(config, asked)
    generator = open_controlled(
        config.adapter,
        config.checkpoint,
        config.tokenizer,
        asked.maps,
        labels,
        config.settings,
        kind=control.kind,
        device=config.device,
        dtype=config.dtype,
    )
    count = len(asked.maps)
    protocol = ProtocolConfig(tuple(range(count)), count * config.variations, config.seed)
    sheet = None
    chunks = output.with_name(f"{output.name}.chunks")
    content: dict[str, Any] = {"sampling": protocol_identity(generator, protocol, config.device)}
    grid = form_of(output) == "grid"
    if grid:
        drawn = _draw_all(config, generator, protocol)
    else:
        stage = StageConfig(str(chunks), device=config.device)
        if draw(generator, protocol, stage, batch_size=config.batch_size).interrupted:
            raise ConfigError(f"the run was interrupted; give the same command again, it goes on from {chunks}")
        images = open_images(str(chunks))
        drawn = torch.cat(list(images.batches(config.batch_size)))
        content["images"] = described(images)
    said = ""
    # Before the output, which would have the command refused when it is given again.
    if extract is not None and config.fidelity:
        given = asked.maps[torch.tensor(cycled(list(range(count)), len(drawn)))]
        values = fidelity(control, extract, drawn, given, structural=config.ssim)
        means = {name: float(value.double().mean()) for name, value in values.items()}
        content["fidelity"] = {"protocol": {name: PROTOCOL[name] for name in means}, **means}
        said = "".join(f", {name} {value:.4g}" for name, value in means.items())
    if grid:
        sheet = _grid(asked, drawn, config.variations)
        with atomic_file(output) as temporary:
            sheet.sheet.save(temporary, format="PNG")
    else:
        write_samples(output, images)
    write_report(record, content, content["sampling"]["device"])
    if not grid:
        shutil.rmtree(chunks)
    return CommandResult(
        f"{len(drawn)} images of {count} {control.kind} maps by {generator.kind} written to {output}{said}",
        {
            "output": output,
            "record": record,
            "kind": generator.kind,
            "control": control.kind,
            "maps": count,
            "count": len(drawn),
            "fidelity": content.get("fidelity"),
        },
        pictures=sheet,
    )


def _control_of(config: ControlCommandConfig) -> tuple[ControlConfig, Extractor | None, int]:
    """The control as the controller was trained for it, what extracts it, if anything does, and the side of the images."""
    loaded = load_controller(expand_path(config.adapter))
    number = 0 if config.kind is None else require_kind(loaded, config.kind)
    trained = loaded.controls[number]
    control = ControlConfig(kind=trained.kind, low=trained.low, high=trained.high, detector=config.detector)
    needs = control.kind not in ("canny", "edges")
    extract = None if needs and config.detector is None else extractor_of(control)
    return control, extract, loaded.model.image_size


def _labels(config: ControlCommandConfig, asked: PictureMaps) -> list[int] | None:
    if config.labels is None:
        return None if asked.labels is None else asked.labels.tolist()
    if len(config.labels) == 1:
        return list(config.labels) * len(asked.maps)
    return list(config.labels)


def _draw_all(config: ControlCommandConfig, generator: ImageGenerator, protocol: ProtocolConfig) -> Tensor:
    numbers = cycled(list(protocol.labels), protocol.count)
    found = []
    starts = range(0, len(numbers), config.batch_size)
    for start in track(starts, "batches of images", len(starts)):
        batch = numbers[start : start + config.batch_size]
        seeds = [row_seed(config.seed, start + place) for place in range(len(batch))]
        found.append(to_bytes(generator.sample(batch, seeds).images).cpu())
    return torch.cat(found)


def _grid(asked: PictureMaps, drawn: Tensor, variations: int) -> PictureSheet:
    """Row after row: the picture, if there is one, its map, and what was drawn."""
    shown: list[Tensor] = []
    captions: list[str] = []
    for number in range(len(asked.maps)):
        if asked.pictures is not None:
            shown.append(asked.pictures[number])
            captions.append("picture")
        shown += [asked.maps[number], *drawn[number :: len(asked.maps)]]
        captions += ["control", *(f"drawn {one + 1}" for one in range(variations))]
    return picture_sheet(shown, len(shown) // len(asked.maps), captions)
