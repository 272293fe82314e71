"""Figures that were measured before, on many problems, and come with the package: never mixed with what runs live."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .shipped import RECORDED

__all__ = ["Recorded", "RecordedRow", "read_recorded", "write_recorded"]


@dataclass(frozen=True)
class RecordedRow:
    """One row of a results file.

    Attributes:
        method: as users know it; the autoregressive baseline is "AR".
        name: of the row in its file: the settings.
        live: these settings are the ones that run live.
        accuracy: share of exact answers, in [0, 1]; None where only equality with the base's outputs was counted.
        tokens_per_forward: generated tokens per pass of the model that writes them.
        speed: tokens per second over those of the autoregressive base in the same run.
        identical: share of outputs equal to those of the same model, one token per pass, in [0, 1]; None for methods that promise no
            such thing.
        problems: held-out problems behind the row.
        source: the results file, from the repository's root.
        date: of the measurement.
        device: on which it ran, threads included.
    """

    method: str
    name: str
    live: bool
    accuracy: float | None
    tokens_per_forward: float
    speed: float
    identical: float | None
    problems: int
    source: str
    date: str
    device: str


@dataclass(frozen=True)
class Recorded:
    """What comes with the package.

    Attributes:
        rows: in the order of the results files.
        weights: sha256 of each shipped model's weights, by its name: the models that the rows were measured with.
    """

    rows: tuple[RecordedRow, ...] = ()
    weights: dict[str, str] | None = None


def read_recorded(path: Path = RECORDED) -> Recorded:
    """Read the figures; without the file there are none."""
    if not path.is_file():
        return Recorded()
    found = json.loads(path.read_text(encoding="utf-8"))
    return Recorded(tuple(RecordedRow(**row) for row in found["rows"]), found["weights"])


def write_recorded(recorded: Recorded, path: Path) -> None:
    """Write the figures as indented JSON."""
    path.write_text(json.dumps(asdict(recorded), indent=1) + "\n", encoding="utf-8")
