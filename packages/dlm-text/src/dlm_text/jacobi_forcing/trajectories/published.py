"""Trajectories in the JSON Lines layouts of the published repository."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from ar_core.data.records import FileRecords
from ar_core.errors import DataError
from torch import Tensor

from .store import prompt_key
from .trajectory import Trajectory

__all__ = ["PublishedTrajectories", "read_packed", "read_states"]


class PublishedTrajectories:
    """A JSON Lines file of packed training sequences, or of trajectories, held in memory.

    Packed sequences (`complete_training_sequence_ids`) hold one state a block, which any schedule then takes.

    Args:
        path: the file, `.gz` or not.

    Raises:
        DataError: the file is absent or damaged, a record is of neither layout, or blocks differ in size.
    """

    def __init__(self, path: Path) -> None:
        records = FileRecords(path)
        self.identity: Mapping[str, Any] = {"path": str(path), "sha256": records.fingerprint}
        data = [record.data for record in records]
        packed = bool(data) and "complete_training_sequence_ids" in data[0]
        try:
            self._trajectories = [read_packed(one) for one in data] if packed else read_states(data)
        except KeyError as error:
            raise DataError(
                f"{str(path)!r}: a record lacks {error}; give packed sequences or trajectories in the published layout"
            ) from error
        except DataError:
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise DataError(
                f"{str(path)!r}: a record holds no ids where they should be ({error}); give packed sequences or trajectories in the "
                "published layout"
            ) from error
        if not self._trajectories:
            raise DataError(f"{str(path)!r} holds no trajectory; give a file with one JSON object a line")
        self.block_size = self._trajectories[0].block_size
        for number, one in enumerate(self._trajectories, start=1):
            if one.block_size != self.block_size:
                raise DataError(
                    f"{str(path)!r}: the sequence number {number} has blocks of {one.block_size} and those before it have "
                    f"blocks of {self.block_size}; put each size in a file of its own"
                )
        self.keys = torch.tensor([prompt_key(one.prompt) for one in self._trajectories])

    def __len__(self) -> int:
        return len(self._trajectories)

    def __getitem__(self, number: int) -> Trajectory:
        return self._trajectories[number]


def read_packed(record: Mapping[str, Any]) -> Trajectory:
    """A packed training sequence, prompt and then noisy and clean block in turn, as a trajectory of one state a block.

    Raises:
        DataError: its length is not that of a prompt and pairs of blocks, or it does not begin with the prompt that is named.
    """
    ids = _ids(record["complete_training_sequence_ids"], 1)
    start, blocks = int(record["prompt_ids_len"]), len(record["traj_position_indices"])
    if not blocks or (len(ids) - start) % (2 * blocks) or start < 1:
        raise DataError(
            f"the sequence {record.get('data_id')!r} has {len(ids)} tokens, {start} of them prompt, which do not divide into "
            f"{blocks} pairs of blocks: correct the file"
        )
    if record.get("prompt_ids") is not None and _prompt(record) != ids[:start].tolist():
        raise DataError(
            f"the sequence {record.get('data_id')!r} does not begin with its prompt_ids: correct the file, or leave them out"
        )
    noisy, clean = ids[start:].view(blocks, 2, -1).unbind(1)
    return Trajectory(ids[:start], clean, tuple(noisy[:, None].unbind(0)))


def read_states(records: Iterable[Mapping[str, Any]]) -> list[Trajectory]:
    """Records of one block each, in any order, as trajectories in the order of their names.

    Raises:
        DataError: blocks of a sample are missing or twice there, or a block does not follow the one before it.
    """
    samples: dict[str, dict[int, Mapping[str, Any]]] = {}
    for record in records:
        name, block = str(record["data_id"]), int(str(record["diffusion_itr_id"]).removeprefix("itr_"))
        blocks = samples.setdefault(name, {})
        if block in blocks:
            raise DataError(f"the sample {name!r} has block {block} twice: remove one record")
        blocks[block] = record
    return [_joined(name, samples[name]) for name in sorted(samples)]


def _joined(name: str, blocks: Mapping[int, Mapping[str, Any]]) -> Trajectory:
    missing = next((block for block in range(len(blocks)) if block not in blocks), None)
    if missing is not None:
        raise DataError(f"the sample {name!r} lacks block {missing}: add its record, or remove the sample")
    states = tuple(_ids(blocks[block]["answer_trajectory_ids"], 2) for block in sorted(blocks))
    prompt = _prompt(blocks[0])
    known = list(prompt)
    for block, found in enumerate(states):
        if _prompt(blocks[block]) != known:
            raise DataError(
                f"block {block} of the sample {name!r} does not follow the blocks before it: its prompt_ids are not theirs"
            )
        known += found[-1].tolist()
    return Trajectory(_ids(prompt, 1), torch.stack([found[-1] for found in states]), states)


def _ids(values: Any, dimensions: int) -> Tensor:
    """Ids of a record, int64; of what is nothing else, not of numbers with a fraction or of none at all."""
    ids = torch.tensor(values)
    if ids.dtype != torch.int64 or ids.ndim != dimensions or not ids.numel() or bool((ids < 0).any()):
        raise TypeError(f"{str(values)[:60]!r}")
    return ids


def _prompt(record: Mapping[str, Any]) -> list[int]:
    """Ids before the block; published records nest them one level deeper."""
    ids = record["prompt_ids"]
    return list(ids[0]) if ids and isinstance(ids[0], list) else list(ids)
