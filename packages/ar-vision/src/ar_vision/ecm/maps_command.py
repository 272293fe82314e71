"""The command that makes control maps of pictures, in the place of downloads of extracted ones."""

from dataclasses import dataclass
from pathlib import Path

from ar_core.command_result import CommandResult
from ar_core.config import expand_path, to_dict
from ar_core.data.progress import track
from ar_core.errors import ConfigError
from ar_core.io import atomic_directory
from ar_core.pictures import WHITE
from ar_core.training.device import choose_device

from ..data.collections import open_pictures
from ..data.collections.folder import FolderPictures
from ..data.config import ImageDataConfig
from ..data.transforms import to_tensor
from ..evaluation.picture_grid import enlarged
from ..evaluation.report import check_target, write_report
from ..evaluation.sample_files import names_folder
from .controls.config import ControlConfig, ControlKind
from .controls.extract import extractor_of

__all__ = ["ControlMapsConfig", "make_maps"]


@dataclass(frozen=True, kw_only=True)
class ControlMapsConfig:
    """Of which pictures, and which control.

    Raises:
        ConfigError: a value is out of range.
    """

    images: str
    """A folder of pictures, or other data; ``~`` and ``$NAME`` are expanded. Maps have the size of their pictures."""

    output: Path
    """A folder that is not there yet. Of a folder of pictures, maps have their relative paths, as PNG, since JPEG would grey their edges; of
    other data they are numbered."""

    kind: ControlKind = "canny"
    """Of control. canny of a whole picture is not that of its crop: train with maps of canny only where pictures are not resized."""

    detector: str | None = None
    """Folder of the model of depth, normal and segmentation, in Hugging Face layout."""

    device: str = "auto"
    """Of the detector."""

    def __post_init__(self) -> None:
        if not names_folder(self.output):
            raise ConfigError(
                f"output is {str(self.output)!r}, and maps are written into a folder: give the name of one"
            )


def make_maps(config: ControlMapsConfig) -> CommandResult:
    """Extract, write, and say what was done.

    Raises:
        ArError: whatever cannot be used; nothing has been overwritten.
    """
    output = expand_path(str(config.output))
    record = output.with_name(f"{output.name}.json")
    for target in (output, record):
        check_target(target)
    control = ControlConfig(kind=config.kind, detector=config.detector)
    extract = extractor_of(control, choose_device(config.device))
    pictures = open_pictures(ImageDataConfig(path=config.images))
    if not len(pictures):
        raise ConfigError(f"{config.images!r} holds no picture: give at least one")
    with atomic_directory(output) as folder:
        for number in track(range(len(pictures)), "control maps", len(pictures)):
            image = to_tensor(pictures[number].pixels(WHITE))
            name = pictures.relative(number) if isinstance(pictures, FolderPictures) else Path(f"{number:08d}")
            target = (folder / name).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            enlarged(extract(image[None])[0].contiguous()).save(target)
    facts = {"control": to_dict(control.made_by), "pictures": len(pictures), "fingerprint": pictures.fingerprint}
    write_report(record, facts, choose_device(config.device).type)
    return CommandResult(
        f"{len(pictures)} maps of {config.kind} written to {output}",
        {"output": output, "record": record, "kind": config.kind, "count": len(pictures)},
    )
