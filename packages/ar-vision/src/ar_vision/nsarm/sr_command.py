"""The command that upscales photographs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ar_core.command_result import CommandResult
from ar_core.config import expand_path
from ar_core.data.progress import track
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError, DataError
from ar_core.io import atomic_directory, atomic_file
from ar_core.pictures import WHITE, read_picture
from ar_core.sampling import row_seed
from torch import Tensor

from ..data.collections.jsonl import JsonlPictures
from ..data.collections.pictures import SUFFIXES, Picture
from ..data.transforms import to_tensor
from ..evaluation.picture_grid import enlarged
from ..evaluation.report import check_target, write_report
from ..evaluation.sample_files import names_folder
from ..evaluation.sampling_config import refuse_set
from ..text.encoder import tell_of_cuts
from .opening import Opened, UpscalingConfig, open_upscaler
from .seams import blend_ratio, seam_ratio

__all__ = ["SrConfig", "upscale_files"]

RECORDS = (".jsonl", ".gz")


@dataclass(frozen=True, kw_only=True)
class SrConfig(UpscalingConfig):
    """Which photographs, and where the results go.

    Raises:
        ConfigError: a value is out of range, or a setting would change nothing.
    """

    input: str
    """A picture, a folder of pictures, or JSON Lines that name pictures (``file_name``) and may have ``captions``. Of any size from one
    pixel on; grey becomes RGB, transparency is laid on ``background``, 16 bits become 8."""

    output: Path
    """Of one picture a .png, else a folder, which gets a .png for each. Settings, times and environment go beside it into OUTPUT.json."""

    background: tuple[int, int, int] = WHITE
    """What shows through transparent pixels, RGB."""

    caption_fields: tuple[str, ...] = ()
    """Entries of JSON Lines that hold captions, of which a photograph's first is taken; empty: captions, caption, text or long_caption."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise ConfigError(f"background is {list(self.background)}; give three numbers from 0 to 255")
        if self.prompt is not None:
            refuse_set(self, "caption_fields", because="prompt is the text of all photographs")


def upscale_files(config: SrConfig) -> CommandResult:
    """Upscale, write, and say what was done.

    Every photograph is read before the first one is upscaled, so that one which cannot be read ends the command at once.

    Raises:
        ArError: whatever cannot be used; nothing has been overwritten.
    """
    output, source = expand_path(str(config.output)), expand_path(config.input)
    record = output.with_name(f"{output.name}.json")
    check_target(output)
    check_target(record)
    pictures = _pictures(source, config.caption_fields)
    single = not source.is_dir() and source.suffix not in RECORDS
    if not (output.suffix.lower() == ".png" if single else names_folder(output)):
        raise ConfigError(
            f"output is {str(config.output)!r} and input {config.input!r}: give a .png for one picture, a folder for several"
        )
    opened = open_upscaler(config)
    for picture in pictures:
        low = _read(picture, config)
        try:
            opened.upscaler.require(*low.shape[1:])
        except DataError as error:
            raise DataError(f"{picture.place}: {error}") from error
    tell_of_cuts(opened.encoder, sorted({_text(opened, picture, config) for picture in pictures}))
    begun = time.perf_counter()
    rows: list[dict[str, Any]] = []
    if single:
        image, row = _one(opened, pictures[0], config, 0)
        rows.append(row)
        with atomic_file(output) as temporary:
            enlarged(image).save(temporary, format="PNG")
    else:
        with atomic_directory(output) as folder:
            for number, picture in enumerate(track(pictures, "photographs", len(pictures))):
                image, row = _one(opened, picture, config, number)
                rows.append(row)
                enlarged(image).save(folder / f"{_stem(picture)}.png", format="PNG")
    seconds = time.perf_counter() - begun
    device = str(next(opened.upscaler.model.parameters()).device)
    write_report(record, {"upscaling": dict(opened.facts), "seconds": seconds, "pictures": rows}, device)
    tiles = sum(row["tiles"] for row in rows)
    return CommandResult(
        f"{len(rows)} pictures in {tiles} tiles upscaled {opened.upscaler.factor} times to {output}, {seconds:.2f} s with reading, text "
        "and writing",
        {"output": output, "record": record, "factor": opened.upscaler.factor, "seconds": seconds, "pictures": rows},
    )


def _one(opened: Opened, picture: Picture, config: SrConfig, number: int) -> tuple[Tensor, dict[str, Any]]:
    begun = time.perf_counter()
    low = _read(picture, config)
    text = _text(opened, picture, config)
    stats = DecodeStats()
    with stats.timed("text"):
        features = opened.features(text)
    found = opened.upscaler(low, features, row_seed(config.seed, number))
    stats = found.stats + stats
    row = {
        "picture": _stem(picture),
        "size": [low.shape[2], low.shape[1]],
        "tiles": found.plan.count,
        "overlap": found.plan.overlap,
        "text": text,
        "seam_ratio": seam_ratio(found.image, found.plan, opened.upscaler.factor),
        "blend_ratio": blend_ratio(found.image, found.plan, opened.upscaler.factor),
        "seconds": time.perf_counter() - begun,
        "phases": {phase: float(seconds) for phase, seconds in stats.seconds.items()},
        "forwards": dict(stats.forwards),
    }
    return found.image, row


def _text(opened: Opened, picture: Picture, config: SrConfig) -> str:
    return next(iter(picture.captions), opened.prompt) if config.prompt is None else config.prompt


def _read(picture: Picture, config: SrConfig) -> Tensor:
    assert isinstance(picture.data, Path)
    return to_tensor(read_picture(picture.data, picture.place, background=config.background))


def _pictures(source: Path, captions: Sequence[str]) -> list[Picture]:
    if captions and source.suffix not in RECORDS:
        raise ConfigError(
            f"caption_fields is {list(captions)} and {str(source)!r} has no captions: leave it out, or give JSON Lines"
        )
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise DataError(f"{str(source)!r} holds no picture ({', '.join(SUFFIXES)}): give another folder")
        found = [Picture(str(file), file) for file in files]
    elif source.suffix in RECORDS:
        named = JsonlPictures(source, None, None, captions)
        found = [named[number] for number in range(len(named))]
    else:
        return [Picture(str(source), source)]
    stems = [_stem(picture) for picture in found]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise DataError(f"two pictures are called {twice!r}, and their results would have one name: rename one")
    return found


def _stem(picture: Picture) -> str:
    assert isinstance(picture.data, Path)
    return picture.data.stem
