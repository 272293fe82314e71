"""The real models that are converted, and the budget of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ar_core.errors import CheckpointError

from benchmarks.recipes import DEFAULT_METHOD, FINAL, conversion_name, run_to_end, without_method

__all__ = ["SETUPS", "Models", "Setup", "train", "trained_models"]


@dataclass(frozen=True)
class Setup:
    """One model's conversion and its control.

    Attributes:
        model: the base, as recipes and decoders name it.
        conversion: config of the conversion's recipe, whatever the method.
        control: config of the recipe ``autoregressive`` with the same data, batch, steps and learning rate.
        overrides: entries of both configs that fit the budget of two CPU cores.
        dtype: of decoding, the faster one of this model on CPUs.
        prompts: ``stories`` or ``spec_bench``.
        max_new_tokens: limit of an output.
    """

    model: str
    conversion: str
    control: str
    overrides: tuple[str, ...]
    dtype: str
    prompts: str
    max_new_tokens: int


SETUPS: Mapping[str, Setup] = MappingProxyType(
    {
        "stories260k": Setup(
            model="$AR_DATA_DIR/models/stories260K",
            conversion="stories260k",
            control="stories260k_finetune",
            overrides=(),
            dtype="float32",
            prompts="stories",
            max_new_tokens=128,
        ),
        "smollm2_135m": Setup(
            model="smollm2-135m-instruct",
            conversion="smollm2_135m",
            control="smollm2_135m_finetune",
            # 24 steps of 2,048 token slots: about 15 minutes for the conversion on one core.
            overrides=(
                "train.steps=24",
                "train.warmup_steps=3",
                "train.eval_every=12",
                "train.checkpoint_every_seconds=60",
            ),
            dtype="bfloat16",
            prompts="spec_bench",
            max_new_tokens=64,
        ),
    }
)


@dataclass(frozen=True)
class Models:
    """Folders of the trained models.

    Attributes:
        converted: the base, converted.
        control: the base, fine-tuned autoregressively on the same data for as many steps.
    """

    converted: Path
    control: Path


def train(
    name: str, runs: Path, overrides: tuple[str, ...] = (), *, method: str = DEFAULT_METHOD, variant: str = ""
) -> Models | None:
    """Train conversion and control; continues what was interrupted and skips what is done.

    Args:
        name: of a setup.
        runs: folder of all runs.
        overrides: further ``key=value`` entries; those outside ``method`` hold for the control too.
        method: recipe of the conversion.
        variant: name of a conversion with other overrides, kept beside the plain one; the control is shared.

    Returns:
        The folders, or ``None`` if a signal stopped one of the runs.
    """
    setup = SETUPS[name]
    given = (*setup.overrides, *overrides)
    converted = run_to_end(method, setup.conversion, runs / name / conversion_name(method, variant), given)
    if converted is None:
        return None
    control = run_to_end("autoregressive", setup.control, runs / name / "control", without_method(given))
    return Models(converted, control) if control is not None else None


def trained_models(name: str, runs: Path, *, method: str = DEFAULT_METHOD, variant: str = "") -> Models:
    """The folders of a setup that has been trained.

    Raises:
        CheckpointError: one of them is not there.
    """
    models = Models(*(runs / name / run / FINAL for run in (conversion_name(method, variant), "control")))
    for folder in (models.converted, models.control):
        if not folder.is_dir():
            raise CheckpointError(
                f"{str(folder)!r} is not there: run `python -m benchmarks.language train {name} --method {method}` first"
            )
    return models
