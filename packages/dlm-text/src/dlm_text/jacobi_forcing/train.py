"""From a run's config to a training job, and what is measured on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ar_core.config import require_positive
from ar_core.corruption import SampleRng
from ar_core.data import StoredSource, StreamedSource, TextDataConfig, build_source
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig, build_model, save_pretrained, stop_ids
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlm_text.autoregressive.train import EvaluationConfig as HeldOutConfig
from dlm_text.text_model import build_text_model

from .config import JacobiForcingConfig
from .monitor import Monitor
from .objective import JacobiForcingObjective
from .source import TrajectoryConfig, TrajectorySource, open_trajectories

__all__ = ["EvaluationConfig", "JacobiForcingRun", "build"]

Source = StoredSource | StreamedSource | TrajectorySource


@dataclass(frozen=True)
class EvaluationConfig(HeldOutConfig):
    """What is measured on held-out rows, every `train.eval_every` steps: both losses, and greedy samples.

    Raises:
        ConfigError: a value is out of range.
    """

    prompts: int = 8
    """Held-out prompts that are continued greedily, the first of the rows; fewer if there are fewer."""

    max_new_tokens: int = 64
    """Most tokens of a continuation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "prompts", "max_new_tokens")


@dataclass(frozen=True)
class JacobiForcingRun:
    """A whole run, section by section, as a YAML file holds it: `trajectories` or `data`, one of the two.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: ModelConfig
    """What is trained: in round 2, what round 1 trained."""
    trajectories: TrajectoryConfig | None = None
    """Collected trajectories: the published method."""
    data: TextDataConfig | None = None
    """Text from which pseudo-trajectories are made on the way, without any decoding (`trajectory_source: corrupt`): the
    bootstrap of the published repository. `seq_len` bounds prompt and continuation."""
    prompt_length: int | None = None
    """First tokens of a text that are its prompt; for data of kind `text`, which needs it."""
    method: JacobiForcingConfig = field(default_factory=JacobiForcingConfig)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""

    def __post_init__(self) -> None:
        if (self.trajectories is None) == (self.data is None):
            given = "neither of them is" if self.data is None else "both are"
            raise ConfigError(
                f"a run trains on collected trajectories or on data that it makes some from, and {given} given: give "
                "trajectories.path, or a data section"
            )
        plain = self.data is not None and self.data.kind == "text"
        if plain != (self.prompt_length is not None):
            raise ConfigError(
                f"prompt_length is {self.prompt_length}: plain text needs one, such as 32, and other data have prompts of their "
                "own"
            )
        if self.prompt_length is not None and self.prompt_length < 1:
            raise ConfigError(f"prompt_length is {self.prompt_length}, but must be at least 1: give a number of tokens")


def build(run: JacobiForcingRun) -> Job:
    """Load the model, open the trajectories or the text.

    Raises:
        ConfigError: there is no tokenizer or it has no end-of-sequence token, or what `JacobiForcingObjective` refuses.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = _model(run)
    ends = stop_ids(model, tokenizer)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
    objective = JacobiForcingObjective(run.method, stop_ids=ends, pad_id=pad_id, prompt_length=run.prompt_length or 1)
    source_of = _sources(run, model, tokenizer, pad_id)

    def save(directory: Path) -> None:
        save_pretrained(model, directory, tokenizer=tokenizer)

    evaluate = None
    if run.train.eval_every is not None:
        held_out = source_of(split="held_out")
        rows = held_out.open(0) if isinstance(held_out, StreamedSource) else held_out.once()
        evaluate = _evaluation(run, model, objective, list(islice(rows, run.evaluation.rows)))
    return Job(
        objective=objective,
        models={"model": model},
        source=source_of(split="train"),
        save=save,
        evaluate=evaluate,
        identity={"prompt_length": run.prompt_length},
    )


def _model(run: JacobiForcingRun) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if run.data is not None:
        return build_text_model(run.model, run.data, seed=run.train.seed)
    loaded = build_model(run.model, seed=run.train.seed)
    if loaded.tokenizer is None:
        raise ConfigError(
            f"the model {loaded.source!r} comes without a tokenizer, which names the tokens that end a text: add "
            "tokenizer.json to its folder"
        )
    return loaded.model, loaded.tokenizer


def _sources(
    run: JacobiForcingRun, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pad_id: int
) -> Callable[..., Source]:
    """A function from a split to its samples."""
    if run.data is not None:
        return partial(build_source, run.data, tokenizer, seed=run.train.seed, pad_id=pad_id)
    assert run.trajectories is not None
    return partial(
        TrajectorySource,
        open_trajectories(run.trajectories),
        run.trajectories,
        seed=run.train.seed,
        block_size=run.method.block_size,
        vocab_size=model.config.get_text_config().vocab_size,
    )


def _evaluation(
    run: JacobiForcingRun, model: nn.Module, objective: JacobiForcingObjective, samples: list[Any]
) -> Callable[[], Mapping[str, float]]:
    rng = SampleRng(seed=0)
    trajectories = chain.from_iterable(objective.trajectories(sample, rng) for sample in samples)
    monitor = Monitor(
        islice(trajectories, run.evaluation.prompts),
        block_size=max(2, run.method.block_size),
        stop_ids=objective.stop_ids,
        max_new_tokens=run.evaluation.max_new_tokens,
        batch_size=run.evaluation.batch_size,
    )

    def evaluate() -> Mapping[str, float]:
        losses = mean_loss(objective, {"model": model}, samples, batch_size=run.evaluation.batch_size)
        return {**losses, **monitor(model)}

    return evaluate
