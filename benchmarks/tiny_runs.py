"""Every recipe at a size of milliseconds a step, with what each run starts from, made by the recipes themselves.

A recipe without an entry in ``RUNS`` runs its config ``tiny`` as it is shipped, but for the length of the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ar_core.registry import Recipe, recipe, recipes

__all__ = ["RUNS", "TinyRun", "prepare", "result_of", "run_config", "tiny_runs"]


@dataclass(frozen=True)
class TinyRun:
    """One run of a recipe.

    Attributes:
        recipe: its name.
        config: a config that ships with it.
        overrides: ``key=value`` and ``~key`` entries.
        inputs: entries of the config that name what another run left, by that run's name.
    """

    recipe: str
    config: str = "tiny"
    overrides: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def record(self) -> Recipe:
        """The recipe as its package announces it."""
        return recipe(self.recipe)


LANGUAGE = "{hidden: 16, layers: 1, heads: 2, kv_heads: 1, intermediate: 32, context: 128}"
TEXT = (
    f"model.scratch={LANGUAGE}",
    "data={kind: task, task: arithmetic, count: 20, seq_len: 64, packing: whole}",
    "evaluation={rows: 2}",
)
VISION_LANGUAGE = (
    "model.language.scratch={hidden: 16, layers: 1, heads: 2, kv_heads: 1, intermediate: 32, context: 256}",
    "model.tower.scratch={side: 16, patch: 8, hidden: 16, layers: 1, heads: 2}",
    "data.count=24",
    "data.held_out=0.2",
    "evaluation={rows: 2}",
)
PICTURES = ("data.count=24", "data.size=16", "data.held_out=0.25", "evaluation={images: 4}")
CODES = ("data.held_out=0.25", "evaluation={images: 4}")
AUTOENCODER = "{channels: 4, channel_multipliers: [1, 2, 2], blocks_per_level: 1, attention: false, latent_channels: 8, norm_groups: 4}"
SIDES = "{default: [1, 2, 4], middle: [3], middle_count: 1, fine: [], fine_count: 0, last: 4}"
EIGHTHS = "{channels: 4, channel_multipliers: [1, 1, 1, 1], blocks_per_level: 1, attention: false, latent_channels: 8, norm_groups: 4}"
OF_VAR = {"tokenizer": "image_tokenizer", "data.path": "var_codes"}

RUNS: Mapping[str, TinyRun] = {
    "autoregressive": TinyRun("autoregressive", overrides=TEXT),
    "efficient_dlm": TinyRun("efficient_dlm", overrides=TEXT),
    "fast_dllm_v2": TinyRun("fast_dllm_v2", overrides=TEXT),
    "jacobi_forcing": TinyRun("jacobi_forcing", overrides=TEXT),
    "jacobi_trajectories": TinyRun(
        "jacobi_trajectories",
        overrides=(f"model.scratch={LANGUAGE}", "data.count=12", "method.max_new_tokens=8", "method.batch_size=4"),
    ),
    "vl_autoregressive": TinyRun("vl_autoregressive", overrides=VISION_LANGUAGE),
    "diffusionvl": TinyRun("diffusionvl", overrides=VISION_LANGUAGE),
    "image_tokenizer": TinyRun(
        "image_tokenizer",
        overrides=(
            *PICTURES,
            "method.scales=[1, 2, 4]",
            "method.adversarial_start_step=2",
            "method.discriminator={channels: 8, layers: 1}",
            f"model.settings.autoencoder={AUTOENCODER}",
        ),
    ),
    "vq_tokenizer": TinyRun(
        "image_tokenizer",
        overrides=(
            *PICTURES,
            "model.kind=vq",
            f"model.settings={{vocab_size: 24, code_dim: 8, autoencoder: {AUTOENCODER}}}",
            "method.scales=[1, 2, 4]",
            "method.adversarial_weight=0",
        ),
    ),
    "image_codes": TinyRun(
        "image_codes",
        overrides=("data.count=24", "data.size=16", "method.batch_size=4"),
        inputs={"tokenizer": "vq_tokenizer"},
    ),
    "var_codes": TinyRun(
        "image_codes",
        overrides=("data.count=24", "data.size=16", "method.scales=[1, 2, 4]"),
        inputs={"tokenizer": "image_tokenizer"},
    ),
    "side_codes": TinyRun(
        "image_codes",
        overrides=("data.count=24", "data.size=16", "method.scales=[1, 2, 3, 4]"),
        inputs={"tokenizer": "vq_tokenizer"},
    ),
    "var": TinyRun(
        "var",
        overrides=(*CODES, "model.scratch={depth: 1, width: 16, heads: 2, num_classes: 4, scales: [1, 2, 4]}"),
        inputs=OF_VAR,
    ),
    "flexvar": TinyRun(
        "flexvar",
        overrides=(
            *CODES,
            "model.scratch={depth: 1, width: 16, heads: 2, num_classes: 4, scales: [1, 2, 4], position_side: 4}",
            "method.final_resolution=16",
            f"method.schedules={SIDES}",
        ),
        inputs={"tokenizer": "vq_tokenizer", "data.path": "side_codes"},
    ),
    "sar": TinyRun(
        "sar",
        overrides=(*CODES, "method.final_resolution=16", f"method.schedules={SIDES}"),
        inputs={"tokenizer": "vq_tokenizer", "data.path": "side_codes", "model.path": "flexvar"},
    ),
    "cca": TinyRun("cca", overrides=CODES, inputs={"model": "var", **OF_VAR}),
    "cca_log_probs": TinyRun(
        "cca_log_probs",
        overrides=("data.held_out=0.25", "train.steps=6", "train.batch_size=4"),
        inputs={"model": "var", **OF_VAR},
    ),
    "noise_code_pairs": TinyRun(
        "noise_code_pairs",
        overrides=("method.count=24", "method.batch_size=4"),
        inputs={"teacher": "var", "tokenizer": "image_tokenizer"},
    ),
    "distilled_decoding": TinyRun(
        "distilled_decoding",
        overrides=CODES,
        inputs={"model.teacher": "var", "tokenizer": "image_tokenizer", "data.path": "noise_code_pairs"},
    ),
    "ecm": TinyRun(
        "ecm",
        overrides=(*CODES, "model.ecm.encoder={patch: 4, depth: 1, width: 16, heads: 2}"),
        inputs={"base": "var", **OF_VAR},
    ),
    "llamagen": TinyRun(
        "llamagen", overrides=("model.layers=1", "model.dim=16", "model.grid=2", "evaluation={images: 4}")
    ),
    "far": TinyRun("far", overrides=("model.layers=1", "model.dim=16", "model.grid=2", "evaluation={images: 4}")),
    "glotok_teacher": TinyRun("glotok_teacher", overrides=("data.count=24", "data.size=16", "method.clusters=2")),
    "glotok": TinyRun(
        "glotok",
        overrides=(
            *PICTURES,
            "model.settings.grid=4",
            f"model.settings.autoencoder={AUTOENCODER}",
            "method.scales=[4]",
        ),
        inputs={"method.teacher": "glotok_teacher"},
    ),
    "glotok_codes": TinyRun("image_codes", overrides=("data.count=24", "data.size=16"), inputs={"tokenizer": "glotok"}),
    "xar": TinyRun(
        "xar",
        overrides=(*CODES, "model.layers=1", "model.dim=16", "model.grid=4", "model.cell=2"),
        inputs={"tokenizer": "glotok", "data.path": "glotok_codes"},
    ),
    "infinity": TinyRun(
        "infinity",
        overrides=(
            *PICTURES,
            "model.depth=1",
            "model.width=16",
            "model.heads=2",
            "model.text_width=16",
            "model.schedules=[[[1, 1], [2, 2]]]",
            f"companions.fresh_tokenizer.autoencoder={EIGHTHS}",
        ),
    ),
    "nsarm": TinyRun(
        "nsarm",
        overrides=(
            "data.count=24",
            "data.held_out=0.25",
            "evaluation={images: 4}",
            "model.fresh_base.depth=1",
            "model.fresh_base.width=16",
            "model.fresh_base.heads=2",
            "model.fresh_base.text_width=16",
            "model.map.widths=[8, 8]",
            "model.map.stem=[8, 8]",
            # Dropout is drawn for a forward pass, and so depends on how a step is split.
            "model.map.dropout=0",
            f"companions.fresh_tokenizer.autoencoder={EIGHTHS}",
        ),
    ),
    "nsarm_joint": TinyRun(
        "nsarm",
        config="tiny_joint",
        overrides=(
            "data.count=24",
            "data.held_out=0.25",
            "evaluation={images: 4}",
            f"companions.fresh_tokenizer.autoencoder={EIGHTHS}",
        ),
        inputs={"model.start": "nsarm"},
    ),
}

SHORT = (
    "train.steps=6",
    "train.batch_size=4",
    "train.micro_batch_size=2",
    "train.warmup_steps=1",
    "train.log_every=1",
    "train.num_workers=0",
    "train.device=cpu",
)
"""Of all that trains."""


def tiny_runs() -> dict[str, TinyRun]:
    """All runs by name; each recipe that is installed has one of its own name."""
    return {**{name: TinyRun(name) for name in recipes()}, **RUNS}


def result_of(home: Path, name: str) -> Path:
    """What a run that was prepared in ``home`` left: the folder of its model, or of its data."""
    return home / name / "final" if tiny_runs()[name].record.makes == "model" else home / name


def run_config(name: str, home: Path, directory: Path | None, overrides: Sequence[str] = ()) -> Any:
    """The config of a run into ``directory``, its inputs taken from ``home``."""
    from ar_core.training import read_run_config

    run = tiny_runs()[name]
    inputs = [f"{key}={result_of(home, source)}" for key, source in run.inputs.items()]
    if run.record.makes == "model":
        length = [*SHORT, f"train.checkpoint_dir={'null' if directory is None else directory}"]
    else:
        length = [f"stage.directory={directory}", "stage.device=cpu"]
        length += [] if name == "glotok_teacher" else ["stage.chunk_size=6"]
    return read_run_config(run.record, run.config, [*run.overrides, *inputs, *length, *overrides])


def prepare(home: Path, names: Sequence[str], *, itself: bool = False) -> None:
    """Run what the named runs start from, and what that starts from, where it is not there yet; if ``itself``, them too."""
    from ar_core.training import run_recipe

    for name in names:
        for source in tiny_runs()[name].inputs.values():
            prepare(home, [source], itself=True)
        done = home / f"{name}.done"
        if itself and not done.exists():
            run = tiny_runs()[name].record
            run_recipe(run, run_config(name, home, home / name))
            done.touch()
