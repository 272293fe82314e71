"""The same job under Lightning: one optimiser step is one batch, and steps, records and checkpoints are the loop's own."""

import dataclasses
from typing import Any

from torch.utils.data import DataLoader

from ..errors import ConfigError, MissingPackageError
from .config import TrainConfig
from .job import Job, TrainResult
from .objective import Prepared
from .optimizers import build_turns
from .ranks import Ranks
from .resume import Resume
from .run import Run
from .step import TrainStep

try:
    import lightning.pytorch as pl
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
except ImportError as error:
    raise MissingPackageError(
        "ar_core.training.lightning_task needs lightning, which is not installed: pip install 'ar-core[train]'."
    ) from error

__all__ = ["LightningTask", "fit"]


class LightningTask(pl.LightningModule):
    """A job as a LightningModule with manual optimisation; :func:`fit` gives it a Trainer.

    Its dataloader yields whole optimiser steps, so that weights are known before the first backward pass. It runs on one
    device or under DDP, where gradients are summed by the step itself. Checkpoints and ``metrics.jsonl`` are those of
    :func:`ar_core.training.train`, in ``config.checkpoint_dir``: either driver continues a run of the other.

    Args:
        job: What is trained.
        config: The run; device and ranks are the Trainer's.
        resume: As in ``train``.
    """

    def __init__(self, job: Job, config: TrainConfig, resume: Resume = "auto") -> None:
        super().__init__()
        self.automatic_optimization = False
        self.job, self.config, self.resume = job, config, resume
        self.module = TrainStep(job.objective, job.models, config.precision)
        self.turns = build_turns(job.objective, job.models, config)
        self.run: Run | None = None

    def configure_optimizers(self) -> list[Any]:
        """Return one optimiser a player."""
        return [turn.optimizer for turn in self.turns]

    def on_fit_start(self) -> None:
        """Refuse what the step's arithmetic does not cover; resume where the models now live."""
        if self.config.sharding != "none":
            raise ConfigError(
                f"sharding is {self.config.sharding!r} and Lightning drives the run: start it with `ar-train run`, or set train.sharding "
                "to none"
            )
        strategy, precision = self.trainer.strategy, self.trainer.precision
        if not isinstance(strategy, (DDPStrategy, SingleDeviceStrategy)):
            raise ConfigError(
                f"the Trainer's strategy is {type(strategy).__name__}: this job runs on one device or under ddp, "
                "choose one"
            )
        if precision != "32-true":
            raise ConfigError(
                f"the Trainer's precision is {precision!r}: set train.precision to bf16 instead, which leaves weights "
                "and optimiser state as they are"
            )
        optimizers = self.optimizers()
        counted = optimizers if isinstance(optimizers, list) else [optimizers]
        # Lightning counts steps and calls its hooks in its own wrappers of the optimisers.
        turns = [dataclasses.replace(turn, optimizer=wrapper) for turn, wrapper in zip(self.turns, counted)]
        self.run = Run(
            self.job, self.config, module=self.module, turns=turns, ranks=Ranks.current(), resume=self.resume
        ).__enter__()

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the steps still to do."""
        assert self.run is not None
        return self.run.batches()

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Move the micro-batches of a step."""
        return [prepared.to(device) for prepared in batch]

    def training_step(self, batch: list[Prepared], batch_idx: int) -> None:
        """Do one optimiser step, with the arithmetic of the loop."""
        assert self.run is not None
        result = self.run.advance(batch)
        self.log("loss", result.loss, batch_size=self.config.batch_size)
        if self.run.stopping:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse: a checkpoint of the Trainer would hold frozen models and not the position in the data."""
        raise ConfigError(
            "checkpoints of this job are written to train.checkpoint_dir: give the Trainer enable_checkpointing=False"
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse, for the same reason."""
        raise ConfigError("this job resumes from train.checkpoint_dir by itself: give the Trainer no ckpt_path")


def fit(job: Job, config: TrainConfig, *, resume: Resume = "auto", **trainer: Any) -> TrainResult:
    """Run a job under a Lightning Trainer: losses, checkpoints, resume and result of :func:`ar_core.training.train`.

    Args:
        job: What is trained.
        config: The run.
        resume: As in ``train``.
        trainer: Further arguments of ``Trainer``, for example ``devices``, ``strategy``, ``logger``, ``callbacks``.

    Raises:
        ConfigError: Also for a strategy or precision of the Trainer that is not covered.
        ResumeError, NumericsError, CheckpointError: As ``train`` does.
    """
    task = LightningTask(job, config, resume)
    kind, _, index = config.device.partition(":")
    options: dict[str, Any] = {
        "accelerator": {"cuda": "gpu"}.get(kind, kind),
        "devices": [int(index)] if index else 1,
        "logger": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "max_epochs": 1,
    }
    runner = pl.Trainer(**options | trainer)
    try:
        runner.fit(task)
        assert task.run is not None
        return task.run.finish()
    finally:
        if task.run is not None:
            task.run.__exit__(None, None, None)
