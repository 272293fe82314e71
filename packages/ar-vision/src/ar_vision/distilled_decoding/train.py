"""From a run's config to a training job: a student of a VAR or a LlamaGen, on pairs of noise and codes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import torch
from ar_core.config import FREE, expand_path
from ar_core.errors import ConfigError
from ar_core.training import Job, TrainConfig, mean_loss
from torch import Tensor, nn

from ..checkpoint import fingerprint, load_checkpoint, require_codebook, require_pair, save_checkpoint
from ..held_out import EvaluationConfig
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from ..tokenizers.training.lpips import load_lpips
from .config import GUESS, DistilledDecodingConfig
from .initialisation import build_student
from .objective import DistilledDecodingObjective
from .pairs.config import PairDataConfig
from .pairs.store import PairSource, build_pair_source
from .pairs.texts import features_of_texts
from .student import Student
from .student_config import NoiseDataEmbedding

__all__ = ["DistilledDecodingRun", "StudentModelConfig", "build"]


@dataclass(frozen=True)
class StudentModelConfig:
    """What is trained: the student of a teacher, of the same size.

    Raises:
        ConfigError: a value is out of range.
    """

    teacher: str = field(metadata=FREE)
    """Checkpoint folder of the teacher that made the pairs; `~` and `$NAME` are expanded. A run knows it by its fingerprint."""
    init: Literal["teacher", "scratch"] = "teacher"
    """Weights of the teacher wherever they fit, or fresh ones."""
    guesses: bool = False
    """Train a student that is fed like its teacher, with first guesses of all codes (ours), and not the published one, which is fed
    with noise. It wants ``method.guess_weight``."""
    noise_data_embed: NoiseDataEmbedding | None = None
    """Where it is told what is noise; null: at the input, and for VAR in every layer, as published."""

    def __post_init__(self) -> None:
        if self.init not in ("teacher", "scratch"):
            raise ConfigError(f"init is {self.init!r}; choose teacher or scratch")


@dataclass(frozen=True, kw_only=True)
class DistilledDecodingRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: StudentModelConfig
    """What is trained."""
    tokenizer: str
    """Checkpoint folder of the teacher's tokenizer; `~` and `$NAME` are expanded."""
    data: PairDataConfig
    """Pairs that the recipe `noise_code_pairs` made with this teacher."""
    text_encoder: str | None = None
    """Folder, or hub name, of the T5 whose features a teacher of texts takes; null where it takes hashed words."""
    method: DistilledDecodingConfig = field(default_factory=DistilledDecodingConfig)
    """The objective, and what the student is sampled with."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements, on pairs: for each timestep t ``held_out_nll_t`` in nats per noisy token, ``held_out_accuracy_t``, and ``held_out_guess_t``, the NLL
    of first guesses."""


def build(run: DistilledDecodingRun) -> Job:
    """Load teacher and tokenizer, make the student, open the pairs.

    Raises:
        ConfigError: sections contradict each other, or timesteps and split do not fit the teacher.
        DataError: the pairs are another teacher's, or not finished.
        CheckpointError: teacher or tokenizer cannot be loaded, or do not belong together.
    """
    method, seed = run.method, run.train.seed
    teacher = load_checkpoint(expand_path(run.model.teacher), "generator", dtype=torch.float32)
    coder = load_checkpoint(expand_path(run.tokenizer), "tokenizer", dtype=torch.float32)
    require_codebook(coder)
    require_pair(teacher, coder)
    tokenizer = cast(CodebookTokenizer, coder.model)
    prints = {"teacher": fingerprint(teacher.model), "tokenizer": fingerprint(coder.model)}
    student = build_student(
        teacher.model,
        tokenizer,
        timesteps=method.timesteps,
        split=method.split,
        guesses=run.model.guesses,
        reads_noise=method.noise == "paired",
        noise_data_embed=run.model.noise_data_embed,
        from_teacher=run.model.init == "teacher",
        seed=seed,
    )
    source_of = partial(
        build_pair_source, run.data, seed=seed, teacher=prints["teacher"], tokenizer=prints["tokenizer"]
    )
    source = source_of()
    texts = features_of_texts(teacher.model, source.store.texts, run.text_encoder, "the teacher")
    models: dict[str, nn.Module] = {"model": student, "tokenizer": coder.model}
    if method.lpips_weight and method.lpips is not None:
        models["lpips"] = load_lpips(method.lpips, method.lpips_minimum_size)
    provenance = {
        "recipe": "distilled_decoding",
        "start": prints["teacher"],
        "noise": method.noise,
        "steps": run.train.steps,
        "data": dict(source.describe()),
    }

    def save(directory: Path) -> None:
        save_checkpoint(directory, student, tokenizer=prints["tokenizer"], provenance=provenance)

    evaluate = None
    if run.train.eval_every is not None:
        evaluate = _evaluation(run, cast(Student, student), models, source_of(split="held_out"), texts)
    return Job(
        objective=DistilledDecodingObjective(
            method, cast(Student, student), batch_size=run.train.batch_size, texts=texts
        ),
        models=models,
        source=source,
        save=save,
        evaluate=evaluate,
        identity={**prints, "text_encoder": run.text_encoder},
    )


def _evaluation(
    run: DistilledDecodingRun,
    student: Student,
    models: Mapping[str, nn.Module],
    held_out: PairSource,
    texts: Sequence[Tensor] | None,
) -> Callable[[], Mapping[str, float]]:
    """Return what measures the student on held-out pairs, at each of its timesteps."""
    samples: list[Any] = list(islice(held_out.once(), run.evaluation.images))
    method = replace(run.method, ce_weight=1.0, mse_weight=1.0, lpips_weight=0.0, split_losses=False)

    def evaluate() -> Mapping[str, float]:
        found: dict[str, float] = {}
        for step in method.timesteps:
            # The first timestep of every config is 0: one that is always drawn stands behind it with all of the probability.
            steps, probs = ((0,), None) if step == 0 else ((0, step), (0.0, 1.0))
            objective = DistilledDecodingObjective(
                replace(method, timesteps=steps, timestep_probs=probs),
                student,
                batch_size=1,
                texts=texts,
                accuracy=True,
            )
            means = mean_loss(objective, models, samples, batch_size=run.evaluation.batch_size)
            found |= {
                f"held_out_nll_{step}": means["code"],
                f"held_out_accuracy_{step}": means["accuracy"],
                f"held_out_vector_{step}": means["vector"],
            }
            if GUESS in means:
                found[f"held_out_guess_{step}"] = means[GUESS]
        return found

    return evaluate
