"""From a run's config to a training job: either stage, on photographs that are degraded on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn

from ..backbones.infinity.config import InfinityConfig
from ..backbones.infinity.model import Infinity
from ..backbones.infinity.train import CompanionConfig, open_tokenizer
from ..checkpoint import Loaded, fingerprint, load_checkpoint, require_codes, save_checkpoint
from ..construction import undrawn
from ..data.config import ImageDataConfig
from ..data.source import build_image_source
from ..held_out import EvaluationConfig
from ..text.encoder import build_text_encoder
from .config import MapConfig, NsarmModelConfig
from .model import Nsarm
from .objective import JointObjective, MapObjective
from .objective_config import NsarmTraining

__all__ = ["NsarmRun", "NsarmRunModel", "build"]


@dataclass(frozen=True)
class NsarmRunModel:
    """What training begins with.

    Raises:
        ConfigError: not one beginning is given.
    """

    start: str | None = None
    """Folder of an nsarm checkpoint, such as stage 1 leaves for stage 2; `~` and `$NAME` are expanded."""
    base: str | None = None
    """In place of it, folder of the Infinity whose later scales are to be used; M begins afresh."""
    fresh_base: InfinityConfig | None = None
    """In place of both, an Infinity with fresh weights, for trying things out."""
    map: MapConfig | None = None
    """Shape of a fresh M."""
    factor: int = 4
    """How many times results are larger, with a fresh M."""

    def __post_init__(self) -> None:
        given = [name for name in ("start", "base", "fresh_base") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(
                f"model has {' and '.join(given) or 'no beginning'}: give one of start, base and fresh_base"
            )
        if (self.start is None) == (self.map is None):
            raise ConfigError(
                "model.map is the shape of a fresh M: give it with base or fresh_base, and not with start"
            )


@dataclass(frozen=True, kw_only=True)
class NsarmRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: NsarmRunModel
    """What training begins with. Every run leaves a whole nsarm checkpoint, which upscales."""
    companions: CompanionConfig
    """Tokenizer and text encoder."""
    data: ImageDataConfig
    """HQ photographs, of the size that results have; with captions where ``method.prompt`` is null."""
    method: NsarmTraining = field(default_factory=NsarmTraining)
    """Stage and objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=partial(EvaluationConfig, images=64, batch_size=8))
    """Held-out photographs, degraded each alike at every evaluation: `held_out_` with the losses and metrics."""


def build(run: NsarmRun) -> Job:
    """Load or make the models, open the data.

    Raises:
        ConfigError: sections do not fit together.
        ArError: as loading models and data does.
    """
    seed = run.train.seed
    tokenizer = open_tokenizer(run.companions, seed)
    model, facts = _model(run.model, fingerprint(tokenizer), seed)
    require_codes(model, tokenizer)
    config, method = model.config, run.method
    side = config.schedule.height * tokenizer.downsampling
    if run.data.shape != (side, side):
        raise ConfigError(
            f"data.size is {list(run.data.shape)} and the model's results have {side} pixels a side: give {side}"
        )
    if method.degrading.factor != config.factor:
        raise ConfigError(
            f"method.degradation reduces {method.degrading.factor} times and the model enlarges {config.factor} times: give it "
            f"the factor {config.factor}"
        )
    models: dict[str, nn.Module] = {"map": model.map.train(), "tokenizer": tokenizer}
    make: Callable[[NsarmTraining], Any]
    if method.stage == "map":
        make = partial(MapObjective, shape=config)
    else:
        text = build_text_encoder(config.transformer.texts, run.companions.text_encoder)
        # Whatever decoder its weights were published with, from here on it is trained on these inputs.
        model.config = replace(config, input_resize="bilinear")
        models |= {"model": _trainable(model.transformer, method.trained_blocks), "text": cast(nn.Module, text)}
        make = partial(JointObjective, model=model, text=text)
    source = build_image_source(run.data, seed=seed)
    evaluate: Callable[[], Mapping[str, float]] | None = None
    if run.train.eval_every is not None:
        held_out = list(islice(build_image_source(run.data, seed=seed, split="held_out").once(), run.evaluation.images))
        objective = make(_plain(method))

        def evaluate() -> Mapping[str, float]:
            found = mean_loss(objective, models, held_out, batch_size=run.evaluation.batch_size)
            return {f"held_out_{name}": value for name, value in found.items()}

    provenance = {
        "recipe": "nsarm",
        "stage": method.stage,
        "scales": str(config.schedule),
        "prompt": method.prompt,
        "text_encoder": run.companions.text_encoder,
        "steps": run.train.steps,
        "data": dict(source.describe()),
        **facts,
    }

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, tokenizer=fingerprint(tokenizer), provenance=provenance)

    return Job(
        objective=make(method),
        models=models,
        source=source,
        save=save,
        evaluate=evaluate,
        identity={"tokenizer": fingerprint(tokenizer), "start": facts, "text_encoder": run.companions.text_encoder},
    )


def _model(config: NsarmRunModel, tokenizer: str, seed: int) -> tuple[Nsarm, dict[str, Any]]:
    """The model that a run begins with, and what is written down of its origin."""
    if config.start is not None:
        loaded = _opened(config.start, "upscaler", Nsarm, tokenizer)
        return cast(Nsarm, loaded.model.float()), {
            "start": fingerprint(loaded.model),
            "before": dict(loaded.provenance),
        }
    assert config.map is not None
    shape = config.map
    if config.base is not None:
        loaded = _opened(config.base, "generator", Infinity, tokenizer)
        base = cast(Infinity, loaded.model.float())
        model = undrawn(lambda: Nsarm(NsarmModelConfig(shape, base.config, config.factor)))
        model.initialize(SampleRng(seed).row(0, "weights"))
        model.transformer.load_state_dict(base.state_dict())
        return model.eval(), {"start": fingerprint(base), "before": dict(loaded.provenance)}
    assert config.fresh_base is not None
    fresh = NsarmModelConfig(shape, config.fresh_base, config.factor)
    model = undrawn(lambda: Nsarm(fresh))
    model.initialize(SampleRng(seed).row(0, "weights"))
    return model, {"start": None}


def _opened(path: str, role: Any, kind: type[nn.Module], tokenizer: str) -> Loaded:
    loaded = load_checkpoint(expand_path(path), role)
    if not isinstance(loaded.model, kind):
        raise ConfigError(
            f"{path} holds a {loaded.family.kind}, and NSARM is built on an infinity: give the folder of one"
        )
    if loaded.tokenizer not in (None, tokenizer):
        raise CheckpointError(
            f"{path} was trained with the tokenizer {loaded.tokenizer} and companions.tokenizer is {tokenizer}: give the one it was "
            "trained with"
        )
    return loaded


def _trainable(transformer: Infinity, blocks: int | None) -> Infinity:
    """Freeze all but the last blocks and the output; None freezes nothing."""
    if blocks is not None:
        kept = tuple(
            f"blocks.{number}." for number in range(max(0, transformer.config.depth - blocks), transformer.config.depth)
        )
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(name.startswith(("output.", *kept)))
    return transformer.train()


def _plain(method: NsarmTraining) -> NsarmTraining:
    """The same without draws but those of the degradation, and every token counting alike."""
    transformer = replace(
        method.transformer, flip_strength=0.0, condition_dropout=0.0, bit_loss="mean", weighting="tokens"
    )
    return replace(method, transformer=transformer)
