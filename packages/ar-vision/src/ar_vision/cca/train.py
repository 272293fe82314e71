"""From a run's config to a training job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Job, TrainConfig, mean_loss
from ar_core.training.device import choose_device
from torch import nn

from ..checkpoint import save_checkpoint
from ..data.codes.config import CodeDataConfig
from ..held_out import EvaluationConfig
from ..null_condition import TRAINED, UNTRAINED, null_condition
from .config import CcaConfig
from .objective import CcaObjective, laid_of
from .pairs import PairSource, Scores, paired
from .reference import reference_log_probs
from .start import Start, open_start, with_dropout
from .stored import StoredLogProbs

__all__ = ["CcaRun", "build"]


@dataclass(frozen=True, kw_only=True)
class CcaRun:
    """A whole run, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: str
    """Folder of the generator that training starts from and compares with: a class-conditional var, flexvar or llamagen; `~` and `$NAME`
    are expanded. The result has its architecture."""
    tokenizer: str
    """Folder of its tokenizer."""
    data: CodeDataConfig
    """Codes that the recipe `image_codes` made with it, as for the generator's own training."""
    method: CcaConfig
    """Pairs and loss."""
    log_probs: str | None = None
    """Folder that the recipe `cca_log_probs` filled for this seed, batch size and method; null: the starting model runs beside the
    trained one. The losses are the same."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out pairs: `held_out_` with the loss, the metrics and `nll`, nats per code under the own class."""

    def __post_init__(self) -> None:
        if self.log_probs is not None and self.method.reference_dropout != "off":
            raise ConfigError(
                f"log_probs are those of the starting model without dropout and method.reference_dropout is "
                f"{self.method.reference_dropout!r}: set it to off, or leave log_probs out"
            )


def build(run: CcaRun) -> Job:
    """Load the start, pair its data.

    Raises:
        ConfigError: sections contradict each other.
        DataError: stored log-probabilities are of other pairs.
        ArError: as loading the models and the data does.
    """
    train = run.train
    start = open_start(run.model, run.tokenizer, run.data, run.method, seed=train.seed, batch_size=train.batch_size)
    stored = None
    if run.log_probs is not None:
        facts = start.facts(run.method, seed=train.seed, batch_size=train.batch_size, precision=train.precision)
        stored = StoredLogProbs(expand_path(run.log_probs))
        stored.require(facts, train.steps * train.batch_size)
    source = PairSource(start.source(split="train"), run.method.group(train.batch_size), stored)
    objective = CcaObjective(run.method, start.likelihood)
    frozen = start.frozen(run.method.dropout)
    model = with_dropout(start.generator.model, run.method.dropout).train()
    models: dict[str, nn.Module] = {"model": model, **frozen}
    evaluate = None if train.eval_every is None else _evaluation(run, start, models)
    if stored is not None:
        del models["reference"]
    provenance = {
        "recipe": "cca",
        "start": {"model": start.names["model"], "provenance": dict(start.generator.provenance)},
        "loss": run.method.loss,
        "beta": run.method.beta,
        "negative_weight": run.method.negative_weight,
        "uncond_ratio": run.method.uncond_ratio,
        "steps": train.steps,
        "batch_size": train.batch_size,
        "data": dict(source.describe()),
        **null_condition(TRAINED if run.method.trains_null else UNTRAINED),
    }

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, tokenizer=start.names["tokenizer"], provenance=provenance)

    return Job(
        objective=objective,
        models=models,
        source=source,
        save=save,
        evaluate=evaluate,
        identity={"start": dict(start.names)},
    )


def _evaluation(run: CcaRun, start: Start, models: Mapping[str, nn.Module]) -> Callable[[], Mapping[str, float]]:
    """Return what measures the model on held-out pairs, which the start scores once, before it moves.

    Args:
        run: the config.
        start: of the run.
        models: of which ``reference`` is not needed afterwards.
    """
    size, rng = run.evaluation.batch_size, SampleRng(seed=0)
    objective = CcaObjective(run.method, start.held_out_likelihood)
    samples = list(paired(list(islice(start.source(split="held_out").once(), run.evaluation.images))))
    device = choose_device(run.train.device)
    placed = {name: models[name].to(device) for name in ("reference", "tokenizer")}
    for first in range(0, len(samples), size):
        batch = samples[first : first + size]
        prepared = objective.prepare(batch, rng).to(device)
        labels = prepared.tensors["labels"]
        found = reference_log_probs(
            objective.likelihood, placed, laid_of(prepared), labels, batch_size=size, max_logits=run.method.max_logits
        )
        for sample, row, scores in zip(batch, labels.T.cpu(), found.T.cpu()):
            sample["reference"] = Scores(row, scores)

    def evaluate() -> Mapping[str, float]:
        needed = {name: model for name, model in models.items() if name != "reference"}
        values: dict[str, Any] = mean_loss(objective, needed, samples, batch_size=size)
        # Of few pairs none may be of the null class, or all: what nothing counts in is left out.
        counted = {name: value for name, value in values.items() if name in objective.coefficients or value == value}
        return {f"held_out_{name}": value for name, value in counted.items()}

    return evaluate
