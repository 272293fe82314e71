"""Trajectories as compact integer chunks, and the collection read back from them."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path
from ar_core.errors import DataError
from ar_core.training import Column, finished_chunks, read_chunks
from safetensors import safe_open
from torch import Tensor

from .trajectory import Trajectory, first_errors

__all__ = ["TrajectoryStore", "encode", "prompt_key"]

KEPT_OPEN = 64


def prompt_key(prompt: Tensor) -> int:
    """Hash of a prompt, ids [P] of any integer dtype, from 0 to 2**63 - 1: equal prompts are held out together."""
    ids = prompt.to(torch.int64).numpy().tobytes()
    return int.from_bytes(blake2b(ids, digest_size=8).digest(), "little") >> 1


def encode(trajectories: Sequence[Trajectory], block_size: int) -> dict[str, Tensor]:
    """S trajectories as int32 tensors: a state is how many of its first tokens are final, and the rest.

    Args:
        trajectories: all with blocks of n.
        block_size: n.

    Returns:
        `key` int64 [S]; `prompt_lengths`, `blocks` [S]; `prompts` [sum of P]; `clean` [sum of T, n]; `states` [sum of T],
        their numbers K; `accepted` [sum of K]; `tails`, the n - accepted other tokens of each state, end to end.
    """
    accepted, tails = [], []
    for trajectory in trajectories:
        for clean, states in zip(trajectory.clean, trajectory.states, strict=True):
            counts = first_errors(states, clean)
            accepted.append(counts)
            tails.append(states[torch.arange(block_size) >= counts[:, None]])
    cells: dict[str, list[Tensor]] = {
        "prompt_lengths": [torch.tensor([len(one.prompt) for one in trajectories])],
        "blocks": [torch.tensor([len(one.clean) for one in trajectories])],
        "prompts": [one.prompt for one in trajectories],
        "clean": [torch.zeros(0, block_size), *(one.clean for one in trajectories)],
        "states": [torch.tensor([len(states) for one in trajectories for states in one.states])],
        "accepted": accepted,
        "tails": tails,
    }
    empty = torch.zeros(0)
    tensors = {name: torch.cat(parts or [empty]).to(torch.int32) for name, parts in cells.items()}
    return {"key": torch.tensor([prompt_key(one.prompt) for one in trajectories], dtype=torch.int64), **tensors}


class _Chunk:
    """One file: small tables in memory, tokens read where they are wanted."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")
        table = {
            name: self._file.get_tensor(name).long() for name in ("prompt_lengths", "blocks", "states", "accepted")
        }
        self._size = self._file.get_slice("clean").get_shape()[1]
        self._accepted = table["accepted"]
        self._prompts, self._blocks, self._states, self._tails = (
            _starts(lengths)
            for lengths in (
                table["prompt_lengths"],
                table["blocks"],
                table["states"],
                self._size - table["accepted"],
            )
        )

    def __getitem__(self, place: int) -> Trajectory:
        first, last = self._blocks[place], self._blocks[place + 1]
        prompt = self._read("prompts", self._prompts[place], self._prompts[place + 1])
        clean = self._read("clean", first, last)
        begin, end = self._states[first], self._states[last]
        counts = self._accepted[begin:end]
        lengths = (self._states[first + 1 : last + 1] - self._states[first:last]).tolist()
        states = clean.repeat_interleave(torch.tensor(lengths), dim=0)
        tails = self._read("tails", self._tails[begin], self._tails[end])
        states[torch.arange(self._size) >= counts[:, None]] = tails
        return Trajectory(prompt, clean, states.split(lengths))

    def _read(self, name: str, start: Tensor, stop: Tensor) -> Tensor:
        out: Tensor = self._file.get_slice(name)[int(start) : int(stop)].long()
        return out


def _checked(path: Path) -> dict[str, Tensor]:
    """The tensors of a chunk, whose lengths add up; they stay in the file until they are read."""
    columns = {
        "key": Column(("rows",)),
        "prompt_lengths": Column(("rows",)),
        "blocks": Column(("rows",)),
        "prompts": Column(("*",)),
        "clean": Column(("all", "*")),
        "states": Column(("all",)),
        "accepted": Column(("*",)),
        "tails": Column(("*",)),
    }
    chunk = read_chunks([path], columns)[0]
    size = chunk["clean"].shape[1]
    counts = {name: chunk[name].long() for name in ("prompt_lengths", "blocks", "states", "accepted")}
    tails = size - counts["accepted"]
    # Of numbers below zero, or near the end of their type, sums mean nothing.
    fits = all(bool(((part >= 0) & (part < 2**31)).all()) for part in (*counts.values(), tails))
    sums = {"prompt_lengths": "prompts", "blocks": "clean", "states": "accepted"}
    fits = fits and all(int(counts[name].sum()) == len(chunk[held]) for name, held in sums.items())
    if not fits or int(tails.sum()) != len(chunk["tails"]):
        raise DataError(f"{path} holds trajectories whose lengths do not add up: collect them again")
    return chunk


class TrajectoryStore:
    """The trajectories of a finished collection, in the order of their prompts, whatever shards made them.

    Args:
        directory: folder of the chunks; ``~`` and ``$NAME`` are expanded.

    Attributes:
        identity: what made them.
        block_size: n.
        keys: int64 [S], a hash of each prompt.

    Raises:
        DataError: there is no collection, or it is not finished.
        CheckpointError: a chunk is damaged.
    """

    def __init__(self, directory: str) -> None:
        self.identity: Mapping[str, Any]
        self.identity, self._paths = finished_chunks(expand_path(directory))
        chunks = [_checked(path) for path in self._paths]
        self.block_size = chunks[0]["clean"].shape[1] if chunks else 0
        if any(chunk["clean"].shape[1] != self.block_size for chunk in chunks):
            raise DataError(f"the chunks in {directory!r} have blocks of several sizes: collect the trajectories anew")
        self.keys = torch.cat([torch.zeros(0, dtype=torch.int64), *(chunk["key"] for chunk in chunks)])
        self._ends = torch.tensor([len(chunk["key"]) for chunk in chunks]).cumsum(0)
        self._open: dict[int, _Chunk] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> Trajectory:
        """Read one trajectory."""
        chunk = int(torch.searchsorted(self._ends, number, right=True))
        if chunk not in self._open:
            if len(self._open) == KEPT_OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[chunk] = _Chunk(self._paths[chunk])
        start = int(self._ends[chunk - 1]) if chunk else 0
        return self._open[chunk][number - start]

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in their process: workers open their own.
        return {**self.__dict__, "_open": {}}


def _starts(lengths: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
