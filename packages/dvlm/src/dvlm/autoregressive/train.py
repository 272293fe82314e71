"""From a run's config to a training job."""

from dataclasses import dataclass, field

from ar_core.training import EvaluationConfig, Job, TrainConfig

from ..build import build_vision_language
from ..chat.encode import ChatEncoder
from ..data.config import VisionTextDataConfig
from ..job import vision_language_job
from ..model_config import VisionLanguageConfig
from ..settings import Settings
from .config import AutoregressiveVLConfig
from .objective import AutoregressiveVLObjective

__all__ = ["AutoregressiveVLRun", "build"]


@dataclass(frozen=True)
class AutoregressiveVLRun:
    """A whole run, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: VisionLanguageConfig
    """What is trained."""
    data: VisionTextDataConfig
    """What it is trained on."""
    method: AutoregressiveVLConfig = field(default_factory=AutoregressiveVLConfig)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""

    def __post_init__(self) -> None:
        self.model.require_used(self.data.images)


def build(run: AutoregressiveVLRun) -> Job:
    """Load the model and open the data.

    Raises:
        ConfigError: the tokenizer lacks the tokens of the conversations' form, or as :func:`dvlm.job.vision_language_job`.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = build_vision_language(run.model, seed=run.train.seed)
    encoder = ChatEncoder(tokenizer, run.data.chat)
    return vision_language_job(
        AutoregressiveVLObjective(run.method, max_length=run.data.max_length),
        model,
        tokenizer,
        encoder,
        Settings(run.data.chat, run.data.images, run.method.mrope),
        data=run.data,
        train=run.train,
        evaluation=run.evaluation,
        supervise_template=run.method.supervise_template_tokens,
    )
