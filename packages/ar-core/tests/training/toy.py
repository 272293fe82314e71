"""Tiny jobs for the tests of the training loop, and a command line that runs one in a process of its own."""

import ctypes
import errno
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ar_core.corruption import SampleRng
from ar_core.errors import ArError
from ar_core.io import write_tensors
from ar_core.training import Job, Player, Prepared, TrainConfig, checkpoint, train
from torch import Tensor, nn

WIDTH = 5


class Source:
    """Vectors whose entries share a value, so that hidden ones can be told from the rest; some entries are not valid."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def open(self, start: int) -> Iterator[Mapping[str, Any]]:
        index = start
        while True:
            generator = torch.Generator().manual_seed(1000 * self.seed + index)
            yield {
                "index": index,
                "ids": torch.arange(1 + index % 3),
                "x": torch.randn(1, generator=generator) + 0.3 * torch.randn(WIDTH, generator=generator),
                "valid": torch.arange(WIDTH) < 1 + index % WIDTH,
            }
            index += 1

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy", "seed": self.seed}


class TwoTerms:
    """Denoising with two terms of different denominators: hidden entries, and samples."""

    coefficients: Mapping[str, float] = {"hidden": 1.0, "mean": 0.5}

    def players(self) -> Sequence[Player]:
        return (Player(),)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        x = torch.stack([sample["x"] for sample in batch])
        rates = torch.stack([torch.rand(WIDTH, generator=rng.row(sample["index"], "mask")) for sample in batch])
        hidden = (rates < 0.5) & torch.stack([sample["valid"] for sample in batch])
        return Prepared({"x": x, "hidden": hidden}, {"hidden": float(hidden.sum()), "mean": float(len(batch))})

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        x, hidden = prepared.tensors["x"], prepared.tensors["hidden"]
        error = (models["model"](x.masked_fill(hidden, 0.0)) - x).square()
        return {
            "hidden": (error * hidden).sum(),
            "mean": error.mean(dim=1).sum(),
            "count": hidden.sum().float(),
        }


def model(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, WIDTH))


def job(**parts: Any) -> Job:
    net = parts.pop("model", None) or model()

    def save(path: Path) -> None:
        write_tensors(path / "model.safetensors", net.state_dict())

    return Job(**{"objective": TwoTerms(), "models": {"model": net}, "source": Source(), "save": save} | parts)


def config(directory: Path | str | None = None, **settings: Any) -> TrainConfig:
    chosen = {"steps": 12, "batch_size": 8, "lr": 1e-2, "device": "cpu", "log_every": 1}
    return TrainConfig(**chosen | {"checkpoint_dir": None if directory is None else str(directory)} | settings)


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def run(directory: Path, **settings: Any) -> None:
    """Train with dropout and a mean of the weights: all state that a checkpoint has to keep."""
    train(job(model=model(dropout=0.2)), config(directory, ema=0.9, warmup_steps=3, keep=1, **settings))


class Deep(nn.Module):
    """A stack of layers with all that sharding has to tell apart: a scalar, a parameter that nothing reaches, uneven rows, a buffer."""

    def __init__(self, dropout: float = 0.0, order: str = "once") -> None:
        super().__init__()
        self.order = order
        self.read = nn.Linear(WIDTH, 7)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(7, 7), nn.Dropout(dropout)) for _ in range(3))
        self.write = nn.Linear(7, WIDTH)
        self.gain = nn.Parameter(torch.ones(()))
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("codes", torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.read(x)
        blocks = list(self.blocks)
        orders = {"by hand": [], "once": blocks, "twice": blocks * 2, "backwards": blocks[::-1], "not all": blocks[:2]}
        for block in orders[self.order]:
            hidden = hidden + block(hidden).tanh()
        if self.order == "by hand":
            hidden = nn.functional.linear(hidden, self.blocks[0][0].weight)
        return self.write(hidden) * self.gain


class Rivals(TwoTerms):
    """Each of two models has a term and a player; the second one's turn sees what the first one's left."""

    def players(self) -> Sequence[Player]:
        return (Player("main", terms=("hidden",)), Player("second", models=("second",), terms=("mean",)))

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        found = super().sums(models, prepared)
        other = super().sums({"model": nn.Sequential(models["model"], models["second"])}, prepared)
        return found | {"mean": other["mean"]}


def deep_job(dropout: float = 0.0, order: str = "once", *, rivals: bool = False, **parts: Any) -> Job:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Deep(dropout, order)
        if rivals:
            parts |= {"objective": Rivals(), "models": {"model": net, "second": Deep()}}
    held_out = torch.linspace(-1, 1, WIDTH).expand(2, WIDTH)
    return job(model=net, evaluate=lambda: {"held_out": float(net(held_out).square().sum())}, **parts)


def run_deep(
    directory: Path, *, dropout: float = 0.0, order: str = "once", rivals: bool = False, **settings: Any
) -> None:
    """Train :class:`Deep` with a mean of its weights and the best of its evaluations."""
    usual = {"ema": 0.9, "warmup_steps": 3, "eval_every": 2, "best_by": "held_out"}
    train(deep_job(dropout, order, rivals=rivals), config(directory, **usual | settings))


def together(
    directory: Path, *, processes: int = 2, dying: int | None = None, full_disk: int | None = None, **settings: Any
) -> None:
    """:func:`run_deep` in several processes of one group; when one of them dies, all do.

    An error of the input ends a process well: it is left in a file beside the folder.

    Args:
        directory: Of the run.
        processes: How many.
        dying: The one that dies at a write boundary; see ``kills``.
        full_disk: The one that cannot write its part of a checkpoint.
        settings: Of the run.
    """
    # Once, for all processes that are forked; FSDP2 imports the second at its first use.
    for name in ("ar_core.training.shards", "torch._dynamo"):
        importlib.import_module(name)

    with tempfile.TemporaryDirectory() as folder:
        ranks = {}
        for rank in range(processes):
            child = os.fork()
            if not child:
                _one_of(processes, rank, Path(folder), directory, dying, full_disk, settings)
            ranks[child] = rank
        while ranks:
            child, status = os.wait()
            del ranks[child]
            if status:
                for other in ranks:
                    os.kill(other, signal.SIGKILL)
                for _ in ranks:
                    os.wait()
                code = os.waitstatus_to_exitcode(status)
                if code < 0:
                    os.kill(os.getpid(), -code)
                raise SystemExit(code)


def _one_of(
    processes: int,
    rank: int,
    folder: Path,
    directory: Path,
    dying: int | None,
    full_disk: int | None,
    settings: dict[str, Any],
) -> None:
    code = 1
    try:
        # Nobody else would end it where its parent was killed.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if rank != dying:
            os.kill = lambda *_: None
        if rank == full_disk:
            save_tensors = checkpoint.save_tensors

            def full(path: Path, tensors: Mapping[str, Tensor]) -> None:
                if "step-00000004" in str(path):
                    raise OSError(errno.ENOSPC, "No space left on device")
                save_tensors(path, tensors)

            checkpoint.save_tensors = full
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=processes)
        run_deep(directory, **settings)
        dist.destroy_process_group()
        code = 0
    except ArError as error:
        directory.with_name(f"{directory.name}-error-{rank}.txt").write_text(str(error))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(settings: dict[str, Any], out: Path) -> None:
    """Run a job and write its losses: what a test starts in another process, or under torchrun."""
    torch.set_num_threads(1)
    if settings.pop("driver", "loop") == "lightning":
        from ar_core.training.lightning_task import fit

        result = fit(job(), config(**settings), strategy="ddp", devices=2)
    else:
        result = train(job(), config(**settings))
    if int(os.environ.get("RANK", "0")) == 0:
        out.write_text(json.dumps({"losses": result.losses, "step": result.step, "interrupted": result.interrupted}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
