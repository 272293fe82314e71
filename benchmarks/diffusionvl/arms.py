"""What is trained, from what, and where it lies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ar_core.environment import portable
from ar_core.errors import ConfigError, DataError
from dvlm.diffusionvl.config import DiffusionVLConfig

from ..image_text.prepare import BLIND, TRAIN
from ..recipes import FINAL, run_to_end

__all__ = ["ARMS", "AUTOREGRESSIVE", "BLIND_ARM", "HALF", "ROUTES", "Arm", "Study", "entries", "train"]

CONFIG = "smollm2_135m_efficientnet"
"""The config of both recipes."""
NEXT_TOKEN, DIFFUSION = "vl_autoregressive", "diffusionvl"

TOWER_SIDE, POOL = 256, 2
"""8 x 8 features of EfficientNet-Lite0, averaged to 4 x 4: 16 tokens a picture."""
MAX_LENGTH = 384
"""Room for every story; a multiple of the block size."""
CONNECTOR_LR, LR = 1e-3, 4e-4
WARM_UP = 20
"""Part of the steps: one in so many."""
BLOCK_SIZE = 8
"""D."""
MIN_NOISE = 0.2
"""t_min. A token counts 1 / t times, so that the gradient of a small batch is mostly noise where levels begin near 0."""


@dataclass(frozen=True)
class Arm:
    """One run.

    Attributes:
        recipe: how it is trained.
        base: the arm that it goes on from; None: the language model.
        part: of the budget behind stage 1, in halves; 0: stage 1 itself.
        blind: whether its data have no pictures.
    """

    recipe: str
    base: str | None
    part: int
    blind: bool = False


CONNECTOR, AUTOREGRESSIVE, BLIND_ARM = "connector", "autoregressive", "blind"
HALF = "half"
ROUTES = ("from_language", "from_vlm")
"""Both routes: from the language model, and from a vision-language model that half of the budget made."""

ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        CONNECTOR: Arm(NEXT_TOKEN, None, 0),
        AUTOREGRESSIVE: Arm(NEXT_TOKEN, CONNECTOR, 2),
        BLIND_ARM: Arm(NEXT_TOKEN, None, 2, blind=True),
        ROUTES[0]: Arm(DIFFUSION, CONNECTOR, 2),
        HALF: Arm(NEXT_TOKEN, CONNECTOR, 1),
        ROUTES[1]: Arm(DIFFUSION, HALF, 1),
    }
)
"""In an order in which each finds what it goes on from. Every dVLM and the control have had as many
steps; each run begins the order of its data anew, so that the last has seen the first half of the samples twice."""


@dataclass(frozen=True)
class Study:
    """One seed at one budget.

    Raises:
        ConfigError: the steps cannot be halved.
    """

    runs: Path
    data: Path
    """What `benchmarks.image_text` prepared."""
    seed: int = 0
    language: str = "smollm2-135m-instruct"
    form: str = "chatml"
    """Of conversations; plain for tokenizers without turn tokens."""
    device: str = "auto"
    connector_steps: int = 150
    steps: int = 600
    """Of every arm behind stage 1."""
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.steps < 2 or self.steps % 2:
            raise ConfigError(
                f"the steps are {self.steps} and half of them go to the vision-language model of route 1: give an even number"
            )

    def of(self, arm: str) -> Path:
        """Folder of an arm's run."""
        return self.runs / f"seed{self.seed}" / arm

    def model(self, arm: str) -> Path:
        """Checkpoint of an arm.

        Raises:
            DataError: it is not there.
        """
        found = self.of(arm) / FINAL
        if not found.is_dir():
            raise DataError(
                f"{str(found)!r}, the arm {arm!r}, is not there: run `python -m benchmarks.diffusionvl train --seed {self.seed}` first"
            )
        return found

    def steps_of(self, arm: str) -> int:
        """Optimiser steps of one arm alone."""
        part = ARMS[arm].part
        return self.steps * part // 2 if part else self.connector_steps

    def describe(self) -> dict[str, Any]:
        """What decides the models, JSON-able."""
        return {
            "seed": self.seed,
            "language": Path(self.language).name,
            "form": self.form,
            "connector_steps": self.connector_steps,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "block_size": BLOCK_SIZE,
            "min_noise": MIN_NOISE,
            "lr": LR,
            "connector_lr": CONNECTOR_LR,
            "max_length": MAX_LENGTH,
            "tower_side": TOWER_SIDE,
            "pool": POOL,
            "method": portable(asdict(DiffusionVLConfig(diffusion_block_size=BLOCK_SIZE, min_noise=MIN_NOISE))),
        }


def entries(study: Study, arm: str, overrides: Sequence[str] = ()) -> list[str]:
    """Entries of the config of an arm.

    Args:
        study: budget and seed.
        arm: which.
        overrides: further ``key=value`` entries.

    Raises:
        DataError: there is no such arm, or what it goes on from is not there.
    """
    if arm not in ARMS:
        raise DataError(f"there is no arm {arm!r}: give some of {', '.join(ARMS)}")
    from ar_core.training.device import choose_device

    chosen, cuda = ARMS[arm], choose_device(study.device).type == "cuda"
    steps = study.steps_of(arm)
    found = [
        *_model(study, arm, "sdpa" if cuda else "auto"),
        f"data.path={study.data / (BLIND if chosen.blind else TRAIN)}",
        "data.held_out=0",
        f"data.max_length={MAX_LENGTH}",
        "data.images={fit: stretch}",
        f"data.chat={{form: {study.form}, system: null}}",
        f"train.steps={steps}",
        f"train.batch_size={study.batch_size}",
        # On a CPU large micro-batches only cost memory.
        f"train.micro_batch_size={'null' if cuda else min(8, study.batch_size)}",
        f"train.warmup_steps={steps // WARM_UP}",
        f"train.lr={LR if chosen.part else CONNECTOR_LR}",
        f"train.seed={study.seed}",
        f"train.device={study.device}",
        "train.precision=bf16",
        f"train.num_workers={8 if cuda else 0}",
        "train.checkpoint_every_seconds=60",
        "train.keep=1",
        "train.eval_every=null",
    ]
    if chosen.recipe == DIFFUSION:
        found += [f"method.diffusion_block_size={BLOCK_SIZE}", f"method.min_noise={MIN_NOISE}"]
    return [*found, *overrides]


def _model(study: Study, arm: str, backend: str) -> list[str]:
    """The model section as one mapping: towers are frozen, language models trained whole."""
    chosen = ARMS[arm]
    base = chosen.base
    trained = ["connector"] if not chosen.part else ["language"] if chosen.blind else ["connector", "language"]
    if base is not None and ARMS[base].part:
        section: dict[str, Any] = {"path": str(study.model(base)), "trained": trained, "attn_backend": backend}
    else:
        section = {
            "language": {"path": study.language, "dtype": "float32", "attn_backend": backend},
            "tower": {"path": "efficientnet-lite0", "side": TOWER_SIDE},
            "connector": {
                "depth": 2,
                "pool": POOL,
                "stage1": None if base is None else str(study.model(base)),
            },
            "trained": trained,
        }
    return [f"model={json.dumps(section)}"]


def train(study: Study, arms: Sequence[str], overrides: Sequence[str] = ()) -> bool:
    """Bring arms to their end, one after the other; what is done stays, what was stopped goes on.

    Returns:
        False if a signal stopped a run.
    """
    return all(
        run_to_end(ARMS[arm].recipe, CONFIG, study.of(arm), entries(study, arm, overrides)) for arm in _known(arms)
    )


def _known(arms: Sequence[str]) -> list[str]:
    """The arms in the order in which they go on from each other.

    Raises:
        DataError: there is no such arm.
    """
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise DataError(f"there is no arm {unknown[0]!r}: give some of {', '.join(ARMS)}")
    return [arm for arm in ARMS if arm in arms]
