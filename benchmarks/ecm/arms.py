"""What is trained beside the same VAR, and where it lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from ar_vision.scales import ScaleSchedule

from ..images.parts import Folders
from ..images.study import BASE, Study, train_arms

__all__ = [
    "ARMS",
    "EQUAL_TOKENS",
    "LEARNING_RATES",
    "UNTRAINED",
    "USUAL",
    "controller_of",
    "entries",
    "study_of",
    "train",
]

_ENCODER = "encoder: {kind: vit, patch: 4, depth: 3, width: 32, heads: 2}"
"""That of the config."""
EQUAL_TOKENS = "all_scales_equal_tokens"
"""The arm that sees all scales, in so many fewer steps that it sees as many codes as the others."""
SCALES = ScaleSchedule.square(1, 2, 3, 4, 6, 8)
"""Those of the base."""
UNTRAINED = "untrained"
"""A fresh ECM, whose gates are shut: what the base is drawn with."""

ARMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ecm": (),
        "lora": (f"model={{lora: {{rank: 16, {_ENCODER}}}}}",),
        "lora_lr_1e-3": (f"model={{lora: {{rank: 16, {_ENCODER}}}}}",),
        "full": (f"model={{full: {{{_ENCODER}}}}}",),
        "no_context": ("model.ecm.context=false",),
        "separate_ffn": ("model.ecm.share_ffn=false",),
        EQUAL_TOKENS: ("method.prefixes={law: full}",),
        "all_scales": ("method.prefixes={law: full}",),
        "full_lr_3e-4": (f"model={{full: {{{_ENCODER}}}}}",),
        "lora_all_scales": (f"model={{lora: {{rank: 16, {_ENCODER}}}}}", "method.prefixes={law: full}"),
        "full_all_scales": (f"model={{full: {{{_ENCODER}}}}}", "method.prefixes={law: full}"),
        "fixed": ("method.normalisation=fixed",),
        "geometric": ("method.prefixes={law: geometric, strength: 0.3, p_full: 0.25}",),
        "car": ("model={car: {channels: [16, 32, 64]}}",),
    }
)
"""Entries of the config `ecm/cifar10` by arm: data, order, optimiser and number of steps are the same where an arm does not name them."""

LEARNING_RATES: Mapping[str, float] = MappingProxyType(
    {"lora_lr_1e-3": 1.0e-3, "full": 1.0e-3, "full_lr_3e-4": 3.0e-4, "full_all_scales": 1.0e-3}
)
"""Of arms that have another than the config's: what suits adapters is too much for the whole base."""

USUAL = ("ecm", "lora", "lora_lr_1e-3", "full", "full_lr_3e-4", "no_context", "separate_ffn", EQUAL_TOKENS)
"""Arms that are trained unless others are asked for."""


def study_of(folders: Folders, seed: int) -> Study:
    """A seed of ECM."""
    return Study("ecm", "var", folders, seed)


def entries(study: Study, arm: str, overrides: Sequence[str] = ()) -> list[str]:
    """Entries of the config of an arm.

    Args:
        study: beside which base, with which seed.
        arm: which.
        overrides: further ``key=value`` entries, of all arms.

    Raises:
        DataError: there is no such arm.
    """
    if arm not in ARMS:
        raise DataError(f"there is no arm {arm!r}: give some of {', '.join(ARMS)}")
    fewer = [f"train.steps={_equal_steps(study, overrides)}"] if arm == EQUAL_TOKENS else []
    return [
        f"base={study.model(BASE)}",
        f"tokenizer={study.tokenizer}",
        f"data.path={study.codes}",
        f"data.pictures={study.folders.cifar10 / 'train.parquet'}",
        f"train.seed={study.seed}",
        *ARMS[arm],
        *([f"train.lr={LEARNING_RATES[arm]}"] if arm in LEARNING_RATES else []),
        *overrides,
        *fewer,
    ]


def _equal_steps(study: Study, overrides: Sequence[str]) -> int:
    """Steps over all scales that see as many codes as those of ECM see on average."""
    run = read_run_config(recipe("ecm"), "cifar10", entries(study, "ecm", overrides))
    law = run.method.prefixes.seen(SCALES.count)
    return round(run.train.steps * sum(share * codes for share, codes in zip(law, SCALES.lengths)) / SCALES.total)


def train(study: Study, arms: Sequence[str], overrides: Sequence[str] = ()) -> bool:
    """Bring arms to their end; what is done stays, what was stopped goes on.

    Args:
        study: beside which base, with which seed.
        arms: which.
        overrides: further ``key=value`` entries, of all of them.

    Returns:
        False if a signal stopped a run.
    """
    return train_arms(study, "ecm", "cifar10", {arm: entries(study, arm, overrides) for arm in arms})


def controller_of(study: Study, arm: str) -> Path:
    """Folder of an arm's controller; of the base, of one that changes nothing, which is made if it is not there.

    Raises:
        DataError: the arm has not been trained.
    """
    if arm != BASE:
        return study.model(arm)
    folder = study.home / UNTRAINED
    if not folder.is_dir():
        run = read_run_config(recipe("ecm"), "cifar10", [*entries(study, "ecm"), "train.eval_every=null"])
        save = build_job(recipe("ecm"), run).save
        assert save is not None
        save(folder)
    return folder
