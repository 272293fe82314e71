"""From a base to the model that Jacobi Forcing trained on its own trajectories, and on to a second round."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ar_core.errors import CheckpointError

from benchmarks.recipes import FINAL, run_to_end
from benchmarks.tasks.training import train_base

__all__ = ["SETUPS", "Budget", "Setup", "Trained", "task_models", "text_models", "train_task", "train_text"]


@dataclass(frozen=True)
class Budget:
    """Entries of the two configs that differ from the shipped ones.

    Attributes:
        collection: of the recipe ``jacobi_trajectories``.
        training: of the recipe ``jacobi_forcing``.
    """

    collection: tuple[str, ...] = ()
    training: tuple[str, ...] = ()

    def __add__(self, other: "Budget") -> "Budget":
        return Budget(self.collection + other.collection, self.training + other.training)


@dataclass(frozen=True)
class Setup:
    """A real language model.

    Attributes:
        model: the base, as recipes and decoders name it; the shipped configs have it too.
        budget: what fits a CPU.
        dtype: of decoding.
        prompts: ``stories`` or ``spec_bench``.
        max_new_tokens: limit of an output.
        block_length: n of decoding, that of training.
    """

    model: str
    budget: Budget
    dtype: str
    prompts: str
    max_new_tokens: int
    block_length: int


SETUPS: Mapping[str, Setup] = MappingProxyType(
    {
        "stories260k": Setup(
            model="$AR_DATA_DIR/models/stories260K",
            budget=Budget(),
            dtype="float32",
            prompts="stories",
            max_new_tokens=128,
            block_length=8,
        ),
        "smollm2_135m": Setup(
            model="smollm2-135m-instruct",
            # Either stage in at most 20 minutes of one core. float32 because few CPUs multiply bfloat16 faster.
            budget=Budget(
                collection=("model.dtype=float32", "data.count=240", "stage.chunk_size=16"),
                training=(
                    "model.dtype=float32",
                    "train.steps=112",
                    "train.warmup_steps=8",
                    "train.eval_every=56",
                    "train.checkpoint_every_seconds=120",
                ),
            ),
            dtype="float32",
            prompts="spec_bench",
            max_new_tokens=64,
            block_length=16,
        ),
    }
)


@dataclass(frozen=True)
class Trained:
    """A base and what was trained from it.

    Attributes:
        base: what a loader takes.
        rounds: folders of the runs by the name that tables give their models: ``trained``, then perhaps ``round 2``.
        control: the base trained on autoregressively, where ``benchmarks.tasks`` has made one.
    """

    base: str
    rounds: Mapping[str, "Round"]
    control: str | None = None

    @property
    def models(self) -> dict[str, str]:
        """What a loader takes, by name; ``base`` first."""
        return {"base": self.base, **{name: str(one.training / FINAL) for name, one in self.rounds.items()}}


@dataclass(frozen=True)
class Round:
    """One round: the folder of its trajectories, and that of its run."""

    trajectories: Path
    training: Path


def train_task(
    seed: int, runs: Path, task_runs: Path, *, rounds: int = 1, budget: Budget = Budget(), base_steps: int | None = None
) -> Trained | None:
    """Train on the task model; continues what was interrupted and skips what is done.

    Args:
        seed: of the base, the prompts, the drafts and the order.
        runs: folder of all runs.
        task_runs: folder of the runs of ``benchmarks.tasks``, whose bases are used.
        rounds: 1, or 2 for a second round.
        budget: further entries of the configs, of both rounds.
        base_steps: of the base's training; those of its config if not given.

    Returns:
        The models, or ``None`` if a signal stopped one of the runs.

    Raises:
        CheckpointError: the base solves too few held-out problems.
    """
    base = train_base(seed, task_runs, steps=base_steps)
    if base is None:
        return None
    # Other problems than those of the base.
    seeded = Budget((f"data.task_seed={1000 + seed}", f"method.seed={seed}"), (f"train.seed={seed}",))
    if not _train(_task_folder(runs, seed), "task", str(base), rounds, seeded + budget):
        return None
    return task_models(seed, runs, task_runs, rounds=rounds)


def train_text(name: str, runs: Path, *, rounds: int = 1, budget: Budget = Budget()) -> Trained | None:
    """Train a real language model; continues what was interrupted and skips what is done.

    Args:
        name: of a setup.
        runs: folder of all runs.
        rounds: 1, or 2 for a second round.
        budget: further entries of the configs, of both rounds.

    Returns:
        The models, or ``None`` if a signal stopped one of the runs.

    Raises:
        ConfigError: the model has no shipped config of a second round.
    """
    setup = SETUPS[name]
    if not _train(runs / name, name, setup.model, rounds, setup.budget + budget):
        return None
    return text_models(name, runs, rounds=rounds)


def task_models(seed: int, runs: Path, task_runs: Path, *, rounds: int = 1) -> Trained:
    """The models of a seed that has been trained.

    Raises:
        CheckpointError: one of them is not there.
    """
    home = task_runs / f"seed{seed}"
    base, control = home / "base" / FINAL, home / "control" / FINAL
    trained = Trained(str(base), _rounds(_task_folder(runs, seed), rounds), str(control) if control.is_dir() else None)
    return _present(trained, base, command=f"tasks --seed {seed}")


def text_models(name: str, runs: Path, *, rounds: int = 1) -> Trained:
    """The models of a setup that has been trained.

    Raises:
        CheckpointError: one of them is not there.
    """
    return _present(Trained(SETUPS[name].model, _rounds(runs / name, rounds)), command=name)


def _train(home: Path, config: str, base: str, rounds: int, budget: Budget) -> bool:
    """Collect and train, round by round; whether all of it was done."""
    model = base
    for number, one in enumerate(_rounds(home, rounds).values(), start=1):
        name, given = config if number == 1 else f"{config}_round{number}", f"model.path={model}"
        data = run_to_end("jacobi_trajectories", name, one.trajectories, [given, *budget.collection])
        if data is None:
            return False
        entries = [given, f"trajectories.path={data}", *budget.training]
        trained = run_to_end("jacobi_forcing", name, one.training, entries)
        if trained is None:
            return False
        model = str(trained)
    return True


def _rounds(home: Path, rounds: int) -> dict[str, Round]:
    found = {}
    for number in range(1, rounds + 1):
        suffix, name = ("", "trained") if number == 1 else (f"_round{number}", f"round {number}")
        found[name] = Round(home / f"trajectories{suffix}", home / f"trained{suffix}")
    return found


def _present(trained: Trained, *others: Path, command: str) -> Trained:
    for folder in (*others, *(one.training / FINAL for one in trained.rounds.values())):
        if not folder.is_dir():
            again = " --round2" if len(trained.rounds) > 1 else ""
            raise CheckpointError(
                f"{str(folder)!r} is not there: run `python -m benchmarks.jacobi_forcing train {command}{again}` first"
            )
    return trained


def _task_folder(runs: Path, seed: int) -> Path:
    return runs / "tasks" / f"seed{seed}"
