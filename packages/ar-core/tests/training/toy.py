"""Tiny jobs for the tests of the training loop, and a command line that runs one in a process of its own."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.io import write_tensors
from ar_core.training import Job, Player, Prepared, TrainConfig, train
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
