"""The command that writes a teacher's histogram."""

from dataclasses import dataclass, field

from ar_core.command_result import CommandResult
from ar_core.config import expand_path
from ar_core.errors import ConfigError

from ..histogram_config import HistogramConfig
from .profile import open_profile, save_profile

__all__ = ["TeacherProfileConfig", "write_profile"]


@dataclass(frozen=True, kw_only=True)
class TeacherProfileConfig:
    """Whose histogram is written where.

    Raises:
        ConfigError: The result would not be read as a profile.
    """

    teacher: str
    """Folder that the recipe `glotok_teacher` filled, or of a dual_vq; ``~`` and ``$NAME`` are expanded."""
    output: str
    """The file, which ends with .json."""
    histogram: HistogramConfig = field(default_factory=HistogramConfig)
    """Bins."""

    def __post_init__(self) -> None:
        if not self.output.endswith(".json"):
            raise ConfigError(f"output is {self.output!r} and profiles end with .json: name it so")


def write_profile(config: TeacherProfileConfig) -> CommandResult:
    """Make the histogram of all pairs of a teacher's vectors and write it.

    Raises:
        ArError: as `open_profile` and `save_profile` do.
    """
    profile = open_profile(config.teacher, config.histogram)
    output = expand_path(config.output)
    save_profile(profile, output)
    vectors = profile.source.get("vectors")
    return CommandResult(
        f"{config.histogram.bins} numbers of {vectors} vectors written to {config.output}",
        {"output": output, "bins": config.histogram.bins, "vectors": vectors},
    )
