"""Collected trajectories as the endless sample stream of a run.

Source: ours.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ar_core.config import expand_path, require_positive, require_share
from ar_core.data import epoch_order
from ar_core.errors import ConfigError, DataError
from torch import Tensor

from .trajectories.published import PublishedTrajectories
from .trajectories.store import TrajectoryStore
from .trajectories.trajectory import Trajectory

__all__ = ["TrajectoryConfig", "TrajectorySource", "open_trajectories"]


@dataclass(frozen=True)
class TrajectoryConfig:
    """Where collected trajectories lie.

    Raises:
        ConfigError: a value is out of range.
    """

    path: str
    """Folder that the recipe `jacobi_trajectories` filled, or a JSON Lines file in the published layout."""
    held_out: float = 0.0
    """Share of the trajectories that is never trained on, in [0, 1): decided by a hash of the prompt."""
    count: int | None = None
    """Take only the first `count` trajectories."""

    def __post_init__(self) -> None:
        require_share(self, "held_out")
        require_positive(self, "count")


class Trajectories(Protocol):
    """Trajectories by number."""

    identity: Mapping[str, Any]
    block_size: int
    keys: Tensor

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Trajectory: ...


def open_trajectories(config: TrajectoryConfig) -> Trajectories:
    """Open a collection, or a published file.

    Raises:
        DataError: nothing is there, or it is not finished or damaged.
    """
    path = expand_path(config.path)
    if path.suffix in (".jsonl", ".gz"):
        return PublishedTrajectories(path)
    return TrajectoryStore(config.path)


class TrajectorySource:
    """Trajectories in an order drawn anew for each epoch.

    Args:
        trajectories: all of them.
        config: which of them.
        split: those to train on, or those held out.
        seed: of the orders.
        block_size: n that training expects.
        vocab_size: V of the model.

    Raises:
        DataError: the blocks have another size, or the split is empty.
        ConfigError: nothing is held out.
    """

    def __init__(
        self,
        trajectories: Trajectories,
        config: TrajectoryConfig,
        *,
        split: str = "train",
        seed: int,
        block_size: int,
        vocab_size: int,
    ) -> None:
        if trajectories.block_size != block_size:
            raise DataError(
                f"the trajectories in {config.path!r} have blocks of {trajectories.block_size} and method.block_size is "
                f"{block_size}: set it to {trajectories.block_size}, or collect others"
            )
        if split == "held_out" and not config.held_out:
            raise ConfigError(
                "nothing is held out; set trajectories.held_out to the share to keep from training, such as 0.02"
            )
        limit = int(config.held_out * 2**63)
        held_out = trajectories.keys[: config.count] < limit
        self._chosen = (held_out if split == "held_out" else ~held_out).nonzero()[:, 0]
        if not len(self._chosen):
            raise DataError(
                f"the {split} split of the {len(trajectories)} trajectories in {config.path!r} is empty: collect more, or "
                "change held_out"
            )
        self._trajectories, self._config, self._seed, self._vocab_size = trajectories, config, seed, vocab_size

    def __len__(self) -> int:
        """Trajectories in an epoch."""
        return len(self._chosen)

    def open(self, start: int) -> Iterator[dict[str, Any]]:
        """Yield samples `start`, `start + 1`, ... without end: `index` and `trajectory`."""
        for index in itertools.count(start):
            epoch, place = divmod(index, len(self))
            yield self._sample(index, int(epoch_order(self._seed, epoch, len(self))[place]))

    def once(self) -> Iterator[dict[str, Any]]:
        """Yield every sample once, in the order of the data, for evaluation."""
        return (self._sample(index, index) for index in range(len(self)))

    def _sample(self, index: int, place: int) -> dict[str, Any]:
        trajectory = self._trajectories[int(self._chosen[place])]
        # States too: what iteration guessed is embedded like any other token.
        largest = max(int(ids.max()) for ids in (trajectory.prompt, trajectory.clean, *trajectory.states))
        if largest >= self._vocab_size:
            raise DataError(
                f"the trajectories in {self._config.path!r} have the token {largest} and the model has only "
                f"{self._vocab_size}: they were collected from another model, collect this one's"
            )
        return {"index": index, "trajectory": trajectory}

    def describe(self) -> dict[str, Any]:
        """What identifies the data."""
        return {
            "trajectories": dict(self._trajectories.identity),
            "held_out": self._config.held_out,
            "count": self._config.count,
            "rows": len(self),
            "seed": self._seed,
        }
