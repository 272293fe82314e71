"""From a run's config to a training job: a frozen VAR on stored codes, and what controls it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import resolve
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn

from ..backbones.scale_transformer.objective import TERM
from ..backbones.var.model import Var
from ..checkpoint import fingerprint, load_checkpoint, require_pair
from ..construction import undrawn
from ..data.codes.config import CodeDataConfig
from ..data.codes.source import CodeSource, build_code_source
from ..data.codes.store import open_codes
from ..data.source import Split
from ..held_out import EvaluationConfig
from .baselines.config import CarConfig, FullConfig, LoraConfig
from .checkpoint import save_controller
from .config import EcmConfig
from .controller import Controller
from .controls.config import ControlConfig
from .controls.source import with_maps
from .kinds import CONTROLLERS
from .objective import EcmObjective
from .objective_config import EcmObjectiveConfig
from .prefix_law import PrefixLaw

__all__ = ["ControlDataConfig", "ControllerConfig", "EcmRun", "build"]


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """What is trained: exactly one.

    Raises:
        ConfigError: none or several are given.
    """

    ecm: EcmConfig | None = None
    """Adapters over the depth of the base, the method itself."""
    lora: LoraConfig | None = None
    """The baseline LoRA."""
    full: FullConfig | None = None
    """The baseline full fine-tuning."""
    car: CarConfig | None = None
    """The baseline CAR."""

    def __post_init__(self) -> None:
        if len(self.given) != 1:
            raise ConfigError(
                f"{', '.join(self.given) or 'nothing'} is given to be trained: give one of ecm, lora, full and car"
            )

    @property
    def given(self) -> dict[str, Any]:
        """Name and settings of what is given."""
        return {name: value for name in CONTROLLERS if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True)
class ControlDataConfig(CodeDataConfig):
    """Codes that the recipe `image_codes` made, and what maps come from.

    Raises:
        ConfigError: there is no control, or one twice.
    """

    pictures: str | None = None
    """The pictures that were encoded: a file, a folder or a pattern; ``~`` and ``$NAME`` are expanded. null where they were drawn (kind
    ``shapes``)."""
    controls: tuple[ControlConfig, ...] = (ControlConfig(),)
    """Kinds of control: one, or several that one controller learns, told apart by an embedding (ours), each sample having one of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.controls or len({one.kind for one in self.controls}) < len(self.controls):
            raise ConfigError(
                f"controls are {', '.join(one.kind for one in self.controls) or 'none'}: give at least one, and none twice"
            )


@dataclass(frozen=True, kw_only=True)
class EcmRun:
    """A whole run, section by section, as a YAML file holds it."""

    base: str
    """Folder of the VAR that is controlled, and stays as it is; `~` and `$NAME` are expanded."""
    tokenizer: str
    """Folder of its tokenizer."""
    model: ControllerConfig
    """What is trained."""
    data: ControlDataConfig
    """Codes, pictures and controls."""
    method: EcmObjectiveConfig = field(default_factory=EcmObjectiveConfig)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out pictures under their control, over all scales."""


def build(run: EcmRun) -> Job:
    """Load base and tokenizer, make the controller, open codes and maps.

    Raises:
        CheckpointError: the base is no VAR, or base and tokenizer are no pair.
        ConfigError: sections contradict each other.
        ArError: as loading the models and the data does.
    """
    loaded = load_checkpoint(expand_path(run.base), "generator", dtype=torch.float32)
    coder = load_checkpoint(expand_path(run.tokenizer), "tokenizer", dtype=torch.float32)
    base, tokenizer = loaded.model, coder.model
    if not isinstance(base, Var):
        raise CheckpointError(f"{loaded.path} holds a {loaded.family.kind}, and a var is needed: give its folder")
    require_pair(loaded, coder)
    downsampling: Any = tokenizer.downsampling
    controller = _build_controller(run, base, base.schedule.height * downsampling)
    models: dict[str, nn.Module] = {"model": controller, "base": base, "tokenizer": tokenizer}
    names = {"base": fingerprint(base), "tokenizer": fingerprint(tokenizer)}

    labelled = open_codes(expand_path(run.data.path)).labels is not None

    def source(split: Split) -> CodeSource:
        codes = build_code_source(
            run.data,
            seed=run.train.seed,
            tokenizer=names["tokenizer"],
            schedule=base.schedule,
            split=split,
            # Pictures without labels are of the null class.
            num_classes=base.config.num_classes if labelled else None,
            vocab_size=base.config.vocab_size,
        )
        return with_maps(codes, run.data.pictures, run.data.controls)

    def objective(method: EcmObjectiveConfig) -> EcmObjective:
        return EcmObjective(method, base, controller, run.data.controls, run.train.batch_size)

    train = source("train")
    provenance = {"recipe": "ecm", "steps": run.train.steps, "data": dict(train.describe())}

    def save(directory: Path) -> None:
        save_controller(directory, controller, run.data.controls, **names, provenance=provenance)

    evaluate = None
    if run.train.eval_every is not None:
        evaluate = _evaluation(run, objective, models, source("held_out"))
    return Job(
        objective=objective(run.method),
        models=models,
        source=train,
        save=save,
        evaluate=evaluate,
        identity=names,
    )


def _build_controller(run: EcmRun, base: Var, image_size: int) -> Controller:
    ((kind, config),) = run.model.given.items()
    base.requires_grad_(False).eval()
    made: Controller = undrawn(
        lambda: resolve(CONTROLLERS[kind].model)(config, base.config, image_size, len(run.data.controls))
    )
    made.initialize(torch.Generator().manual_seed(run.train.seed), base)
    return made.train()


def _evaluation(
    run: EcmRun,
    objective: Callable[[EcmObjectiveConfig], EcmObjective],
    models: Mapping[str, nn.Module],
    held_out: CodeSource,
) -> Callable[[], Mapping[str, float]]:
    """Return what measures the controlled base on held-out pictures: all scales, each with its class and control."""
    measured = objective(
        replace(
            run.method,
            label_dropout=0.0,
            control_dropout=0.0,
            joint_dropout=0.0,
            accuracy=True,
            prefixes=PrefixLaw(law="full"),
        )
    )
    samples = list(islice(held_out.once(), run.evaluation.images))

    def evaluate() -> Mapping[str, float]:
        found = mean_loss(measured, models, samples, batch_size=run.evaluation.batch_size)
        return {"held_out_nll": found.pop(TERM), **found}

    return evaluate
