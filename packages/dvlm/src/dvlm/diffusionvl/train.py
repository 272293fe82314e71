"""From a run's config to a training job."""

from dataclasses import dataclass, field

from ar_core.errors import ConfigError
from ar_core.training import EvaluationConfig, Job, TrainConfig

from ..build import build_vision_language, mask_row
from ..chat.encode import ChatEncoder
from ..data.config import VisionTextDataConfig
from ..job import vision_language_job
from ..model_config import VisionLanguageConfig
from ..settings import Diffusion, Settings
from .config import DiffusionVLConfig
from .objective import DiffusionVLObjective

__all__ = ["DiffusionVLRun", "build"]


@dataclass(frozen=True)
class DiffusionVLRun:
    """A whole run, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: VisionLanguageConfig
    """What is converted."""
    data: VisionTextDataConfig
    """What it is trained on."""
    method: DiffusionVLConfig = field(default_factory=DiffusionVLConfig)
    """How it is converted."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""

    def __post_init__(self) -> None:
        self.model.require_used(self.data.images)
        largest = self.method.largest_block_size
        if self.data.max_length % largest:
            raise ConfigError(
                f"data.max_length is {self.data.max_length} and no multiple of the block size {largest}, so that long samples would end in a "
                f"ragged block: set it to {self.data.max_length // largest * largest or largest}"
            )


def build(run: DiffusionVLRun) -> Job:
    """Load the model, find its mask row, open the data.

    Raises:
        ConfigError: the tokenizer lacks the tokens of the conversations' form, the mask row does not exist or is in use, or as
            :func:`dvlm.job.vision_language_job`.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = build_vision_language(run.model, seed=run.train.seed)
    encoder = ChatEncoder(tokenizer, run.data.chat)
    mask_id = mask_row(
        model, tokenizer, mask_id=run.method.mask_id, mask_token=run.method.mask_token, reserved=encoder.reserved
    )
    diffusion = Diffusion(mask_id, run.method.final_block_size, run.method.clean)
    objective, measured = (
        DiffusionVLObjective(method, mask_id, encoder.eos_id, max_length=run.data.max_length)
        for method in (run.method, run.method.at_end())
    )
    return vision_language_job(
        objective,
        model,
        tokenizer,
        encoder,
        Settings(run.data.chat, run.data.images, run.method.mrope, diffusion),
        data=run.data,
        train=run.train,
        evaluation=run.evaluation,
        supervise_template=run.method.supervise_template_tokens,
        measured=measured,
    )
