"""Every config of every installed package: valid, buildable, and able to train."""

import os
import runpy

import pytest
from ar_core.config import apply_overrides, from_dict, load_yaml, to_dict
from ar_core.registry import configs, decoders, recipe_file, recipes, resolve

SHIPPED = [(recipe, name) for recipe in recipes() for name in configs(recipes()[recipe])]

# Recipes of images, alone or with text, have other sections, and run in the tests of their packages.
TEXT = [(recipe, name) for recipe, name in SHIPPED if not recipes()[recipe].package.startswith(("ar_vision.", "dvlm."))]

# The others start from checkpoints that are not part of the packages.
FRESH = [(recipe, name) for recipe, name in TEXT if "scratch" in load_yaml(configs(recipes()[recipe])[name])["model"]]

TRAINING = [(recipe, name) for recipe, name in TEXT if recipes()[recipe].makes == "model"]
MAKING = [(recipe, name) for recipe, name in TEXT if recipes()[recipe].makes == "data"]

# Every model becomes this one and all data become this task; method and optimiser stay as they are shipped.
SHRUNK = [
    "model.path=null",
    "model.scratch={hidden: 16, layers: 1, heads: 2, kv_heads: 1, intermediate: 32, context: 128}",
    "data={kind: task, task: arithmetic, count: 20, seq_len: 64, packing: whole}",
    "train.steps=2",
    "train.batch_size=2",
    "train.micro_batch_size=1",
    "train.warmup_steps=1",
    "train.num_workers=0",
    "train.checkpoint_dir=null",
    "train.eval_every=2",
    "evaluation={rows: 2}",
]
# What a recipe needs besides; Jacobi Forcing makes its trajectories of the same data, and its loss is a sum of two.
OWN = {
    # Per supervised token the loss is a cross-entropy on average over noise levels, of which short rows have to hold several.
    "efficient_dlm": [
        "method.mask_token=<mask>",
        "method.normalisation=supervised",
        "method.diffusion_block_size=4",
    ],
    "fast_dllm_v2": ["method.mask_token=<mask>"],
    "jacobi_forcing": ["trajectories=null", "method.block_size=4", "method.ar_weight=0.5"],
    "jacobi_trajectories": [
        *SHRUNK[:3],
        "method.prompt_length=null",
        "method.max_new_tokens=32",
        "stage.chunk_size=10",
    ],
}
# Weights of 4 bits share scales in blocks that narrower layers do not have.
WIDE = "model.scratch={hidden: 128, layers: 1, heads: 2, kv_heads: 2, intermediate: 128, context: 128}"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _load(recipe: str, name: str, overrides=()):
    data = load_yaml(configs(recipes()[recipe])[name])
    return from_dict(resolve(recipes()[recipe].run_config), apply_overrides(data, overrides))


def test_something_is_shipped() -> None:
    assert {recipe for recipe, _ in SHIPPED} == set(recipes())
    assert all((recipe, "tiny") in SHIPPED for recipe in recipes()), "every recipe has a config for a CPU and a minute"


@pytest.mark.parametrize(("recipe", "name"), SHIPPED)
def test_valid_and_complete(recipe, name) -> None:
    run = _load(recipe, name)
    assert from_dict(type(run), to_dict(run)) == run
    if (recipe, name) in TEXT:
        assert run.model.scratch is not None or run.model.path
    text = configs(recipes()[recipe])[name].read_text()
    assert text.startswith("# "), "a config opens with what it is for"
    assert f"--config {name}" in text, "and with the command that runs it"


@pytest.mark.parametrize(("recipe", "name"), FRESH)
def test_fresh_models_build_on_the_meta_device(recipe, name) -> None:
    import torch
    from ar_core.data import find_task
    from ar_core.hf import build_model

    run = _load(recipe, name)
    with torch.device("meta"):
        model = build_model(run.model, tokenizer=find_task(run.data.task).tokenizer(), device="meta").model
    parameters = list(model.parameters())
    assert all(parameter.is_meta for parameter in parameters)
    assert sum(parameter.numel() for parameter in parameters) <= 3_000_000


@pytest.mark.parametrize(("recipe", "name"), TRAINING)
def test_two_steps(recipe, name) -> None:
    from ar_core.training import run_recipe

    quantized = _load(recipe, name).model.quantization is not None
    wide = [WIDE] if quantized else []
    result = run_recipe(recipes()[recipe], _load(recipe, name, [*SHRUNK, *wide, *OWN.get(recipe, [])]))
    assert result.step == 2
    assert len(result.losses) == 2
    # Untrained: about the entropy of a uniform choice among fewer than 100 tokens.
    assert all(2 < loss < 7 for loss in result.losses)
    assert result.evaluation


@pytest.mark.parametrize(("recipe", "name"), MAKING)
def test_two_chunks(recipe, name, tmp_path) -> None:
    from ar_core.training import finished_chunks, run_recipe

    result = run_recipe(recipes()[recipe], _load(recipe, name, [*OWN[recipe], f"stage.directory={tmp_path}"]))
    assert result.made == len(finished_chunks(tmp_path)[1]) == 2


@pytest.mark.parametrize("recipe", list(recipes()))
def test_recipe_files_are_importable_modules(recipe) -> None:
    """`tune run` and `torchrun -m` find them by module path; importing one must run nothing."""
    names = runpy.run_path(str(recipe_file(recipes()[recipe])), run_name="imported")
    assert names["RECIPE"] == recipes()[recipe]


def test_every_record_resolves_its_names() -> None:
    for recipe in recipes().values():
        assert callable(resolve(recipe.build))
        assert callable(resolve(recipe.run_config))
    for decoder in decoders().values():
        assert callable(resolve(decoder.decode))
        assert callable(resolve(decoder.options))


def test_no_config_names_a_path_of_a_machine() -> None:
    for recipe, name in SHIPPED:
        text = configs(recipes()[recipe])[name].read_text()
        assert os.sep + "home" not in text
        assert os.sep + "work" not in text
