"""A run from its first step to its last, whoever drives it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from ..allocator import keep_freed_memory
from ..errors import ConfigError
from . import checkpoint
from .batches import StepDataset, step_loader
from .config import TrainConfig
from .ema import Ema
from .identity import run_identity
from .interrupt import Interrupt
from .job import Job, TrainResult
from .lock import directory_lock
from .objective import Prepared, Settling
from .optimizers import Turn
from .outcome import leave_final_model, require_own
from .ranks import Ranks
from .recorder import Recorder
from .resume import Resume, resume_run
from .state import RunState
from .step import OptimizerStep, StepReport, TrainStep

if TYPE_CHECKING:
    from .shards import Shards

__all__ = ["Run"]


class Run:
    """Resume, steps, records and result of one run; a context manager, entered when models and process group stand.

    Args:
        job: What is trained.
        config: The run.
        module: The job's models on their device.
        turns: The players' optimisers over them.
        ranks: The processes of the run.
        resume: As in ``train``.
        report: As in ``train``.
        shards: What is trained, if it is sharded.

    ``stopping`` is true once a step found that a signal had asked any rank to stop; its checkpoint is then written.

    Raises:
        ConfigError, ResumeError: On entering; as ``train`` does.
    """

    def __init__(
        self,
        job: Job,
        config: TrainConfig,
        *,
        module: TrainStep,
        turns: Sequence[Turn],
        ranks: Ranks,
        resume: Resume = "auto",
        report: Callable[[Mapping[str, Any]], None] | None = None,
        shards: "Shards | None" = None,
    ) -> None:
        if config.eval_every is not None and job.evaluate is None:
            raise ConfigError(f"eval_every is {config.eval_every} and the job has nothing to evaluate: set it to null")
        if config.best_by is not None and job.save is None:
            raise ConfigError(f"best_by is {config.best_by!r} and the job has no way to save its model: set it to null")
        self.job, self.config, self.module, self.ranks = job, config, module, ranks
        self.resume, self.report, self.shards = resume, report, shards
        self.directory = Path(config.checkpoint_dir) if config.checkpoint_dir is not None else None
        self.ema = Ema(turns, config.ema) if config.ema is not None else None
        self.state = RunState(job.models, turns, self.ema, shards.rows(turns) if shards is not None else None)
        self.optimizer_step = OptimizerStep(module, job.objective, turns, config, ranks, shards)
        self.losses: list[float] = []
        self.step = 0
        self.resumed_from: int | None = None
        self.recorder: Recorder | None = None
        self.interrupt = Interrupt()
        self.stopping = False
        self._stack = ExitStack()

    def __enter__(self) -> "Run":
        keep_freed_memory()
        with ExitStack() as stack:
            stack.enter_context(self.interrupt)
            first = self.ranks.rank == 0
            if self.directory is not None and first:
                stack.enter_context(directory_lock(self.directory))
            identity = run_identity(self.job, self.config)
            self.resumed_from = resume_run(self.state, identity, self.config.steps, self.directory, self.resume)
            self.step = self.resumed_from or 0
            whole = self.state.weights.keys() - self.state.rows.keys()
            self.ranks.require_equal([(name, self.state.weights[name]) for name in sorted(whole)])
            if first and self.directory is not None:
                if self.resumed_from is None and self.job.save is not None:
                    require_own(self.directory, ["final"] if self.config.best_by is None else ["final", "best"])
                checkpoint.prune(self.directory, self.config.keep)
            if first or self.shards is not None:
                self.recorder = Recorder(
                    self.job,
                    self.config,
                    module=self.module,
                    state=self.state,
                    identity=identity,
                    directory=self.directory,
                    report=self.report,
                    resumed_from=self.resumed_from,
                    shards=self.shards,
                )
                stack.enter_context(closing(self.recorder))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def batches(self) -> DataLoader[Any]:
        """Return the loader of the steps still to do: this rank's ``list[Prepared]`` per step."""
        return step_loader(StepDataset(self.job, self.config, self.ranks, self.step))

    def advance(self, micro_batches: list[Prepared]) -> StepReport:
        """Do one optimiser step and all that follows it: averaging, metrics, evaluation, checkpoint.

        Raises:
            NumericsError: A loss or gradient is not finite.
            CheckpointError: A checkpoint cannot be written.
        """
        result = self.optimizer_step(micro_batches, self.step)
        if isinstance(self.job.objective, Settling):
            self.job.objective.after_step(self.job.models, self.step, self.ranks)
        self.step += 1
        self.losses.append(result.loss)
        if self.ema is not None:
            self.ema.update()
        # Read once a step: a signal heard after this point is the next step's, on every rank and with its checkpoint.
        self.stopping = self.ranks.any(self.interrupt.requested)
        if self.recorder is not None:
            # Other ranks' shares of a step are as large, and their tokens are counted as as many.
            tokens = sum(prepared.meta["tokens"] for prepared in micro_batches) * self.ranks.size
            self.recorder.after_step(self.step, result, tokens, stopping=self.stopping)
        return result

    def finish(self) -> TrainResult:
        """Leave the final model if the run is over, and return how it ended."""
        over = self.step == self.config.steps
        self.module.eval()
        if over:
            directory = self.directory if self.recorder is not None else None
            leave_final_model(
                self.job,
                self.module,
                self.ema,
                directory,
                step=self.step,
                trained=bool(self.losses),
                shards=self.shards,
            )
        evaluation = self.recorder.evaluation if self.recorder is not None else {}
        return TrainResult(self.losses, self.step, self.resumed_from, not over, evaluation)
