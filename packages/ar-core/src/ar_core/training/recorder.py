"""What a run leaves behind on its way: metrics, evaluations, checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from . import checkpoint
from .background import Background
from .best import Best
from .config import TrainConfig
from .job import Job
from .meeting import Meeting
from .meters import Throughput, peak_memory_mib
from .metrics import MetricsFile
from .outcome import shown
from .progress import Progress
from .state import RunState
from .step import StepReport, TrainStep

if TYPE_CHECKING:
    from .shards import Shards

__all__ = ["Recorder"]


class Recorder:
    """Everything around the steps, on the first rank; of a sharded run on all ranks, which evaluate and write checkpoints together.

    Args:
        job: What is trained.
        config: The run.
        module: The models, to be put in eval mode for evaluations.
        state: The live run, as checkpoints hold it.
        identity: As ``run_identity`` gives it.
        directory: Where things are written; None writes nothing.
        report: Called with every record of metrics.
        resumed_from: Step of the checkpoint the run continues from.
        shards: What is trained, if it is sharded.
    """

    def __init__(
        self,
        job: Job,
        config: TrainConfig,
        *,
        module: TrainStep,
        state: RunState,
        identity: Mapping[str, Any],
        directory: Path | None,
        report: Callable[[Mapping[str, Any]], None] | None,
        resumed_from: int | None,
        shards: "Shards | None" = None,
    ) -> None:
        self.job, self.config, self.module, self.state = job, config, module, state
        self.identity, self.directory, self.report = identity, directory, report
        self.shards = shards
        self.first = shards is None or shards.ranks.rank == 0
        self.meeting = Meeting(shards.ranks) if shards is not None and directory is not None else None
        self.evaluation: dict[str, float] = {}
        self.device = next(module.parameters()).device
        self.saved_step, self.saved_at = resumed_from, time.monotonic()
        self.metrics = MetricsFile(directory, resumed_from or 0) if directory is not None and self.first else None
        self.background = Background() if config.checkpoint_async else None
        self.best: Best | None = None
        if config.best_by is not None and directory is not None and self.first:
            self.best = Best(job, config.best_by, directory, resumed=resumed_from is not None)
        self.progress = Progress(config.steps, resumed_from or 0) if self.first else None
        self.throughput = Throughput()

    def after_step(self, step: int, result: StepReport, tokens: int, *, stopping: bool) -> None:
        """Take note of a step; ``step`` counts those done, this one included."""
        config, last = self.config, step == self.config.steps
        if self.progress is not None:
            self.progress.show(step, result.loss)
        self.throughput.add(config.batch_size, tokens)
        if step % config.log_every == 0 or last:
            self._log({"step": step, **self._numbers(result)})
        if config.eval_every is not None and (step % config.eval_every == 0 or last):
            self._evaluate(step)
        if self.directory is not None and self._checkpoint_due(step, last or stopping):
            with self.throughput.paused():
                self._checkpoint(self.directory, step, ending=last or stopping)

    def close(self) -> None:
        """Wait for a checkpoint that is being written, close the metrics and leave the terminal as it was."""
        if self.progress is not None:
            self.progress.close()
        if self.metrics is not None:
            self.metrics.close()
        if self.background is not None:
            self.background.close()

    def _numbers(self, result: StepReport) -> dict[str, Any]:
        return {
            "loss": result.loss,
            "lr": result.lr,
            "grad_norm": math.hypot(*result.grad_norm.values()),
            **self.throughput.read(),
            "peak_memory_mib": peak_memory_mib(self.device),
            "values": result.values,
            "weights": result.weights,
        }

    def _log(self, record: dict[str, Any]) -> None:
        if self.progress is not None:
            self.progress.record(record)
        if self.metrics is not None:
            self.metrics.write(record)
        if self.report is not None and self.first:
            self.report(record)

    def _evaluate(self, step: int) -> None:
        assert self.job.evaluate is not None
        with self.throughput.paused(), shown(self.module, self.state.ema, self.shards) as here:
            if not here:
                return
            self.evaluation = dict(self.job.evaluate())
            if self.best is not None:
                self.best.offer(step, self.evaluation)
        self._log({"step": step, "evaluation": self.evaluation})

    def _checkpoint_due(self, step: int, ending: bool) -> bool:
        steps, seconds = self.config.checkpoint_every_steps, self.config.checkpoint_every_seconds
        if step == self.saved_step:
            return False
        by_steps = steps is not None and step % steps == 0
        by_clock = seconds is not None and time.monotonic() - self.saved_at >= seconds
        if self.shards is not None and seconds is not None:
            by_clock = self.shards.ranks.any(by_clock and self.first)
        return ending or by_steps or by_clock

    def _checkpoint(self, directory: Path, step: int, *, ending: bool) -> None:
        if self.background is not None:
            # Before memory is taken for another copy.
            self.background.wait()
        if self.metrics is not None:
            self.metrics.sync()
        tensors = self.state.tensors() if self.first else self.state.sharded()
        tensors = tensors if self.background is None else _copied(tensors)
        write = partial(self._write, directory, checkpoint.Snapshot(step, tensors, self.identity))
        if self.background is None:
            write()
        else:
            self.background.start(write)
            if ending:
                # The final model must not be there before the checkpoint that a killed process would write it from.
                self.background.wait()
        self.saved_step, self.saved_at = step, time.monotonic()

    def _write(self, directory: Path, snapshot: checkpoint.Snapshot) -> None:
        if self.meeting is None:
            checkpoint.save(directory, snapshot, self.config.keep)
        else:
            checkpoint.save_part(directory, snapshot, self.config.keep, self.meeting)


def _copied(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    return {
        group: {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        for group, tensors in groups.items()
    }
