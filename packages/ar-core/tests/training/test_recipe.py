import importlib
import os
import shutil
import subprocess
import sys

import pytest
from ar_core import registry
from ar_core.errors import ConfigError
from ar_core.registry import Recipe
from ar_core.training import build_job, read_run_config, recipe_main, train

METHOD = """
from dataclasses import dataclass, field
from ar_core.config import FREE
from ar_core.registry import Recipe
from ar_core.training import TrainConfig
from toykit import toy

RECIPE = Recipe("denoise", "Denoise vectors.", "toykit.recipes", "toykit.method:RunConfig", "toykit.method:build")

@dataclass(frozen=True)
class Method:
    dropout: float = 0.0
    chunk: int = field(default=8, metadata=FREE)

@dataclass(frozen=True)
class RunConfig:
    method: Method = field(default_factory=Method)
    train: TrainConfig = field(default_factory=TrainConfig)

def build(config):
    return toy.job(model=toy.model(dropout=config.method.dropout))
"""
RECIPE_FILE = """
from ar_core.training import recipe_main
from toykit.method import RECIPE

if __name__ == "__main__":
    raise SystemExit(recipe_main(RECIPE))
"""
CONFIG = """
train: {steps: 6, batch_size: 8, lr: 1e-2, device: cpu, log_every: 1}
"""


@pytest.fixture(scope="module")
def site(toy, tmp_path_factory):
    """A folder with the installed package ``toykit``, as its wheel would lie there."""
    site = tmp_path_factory.mktemp("site")
    recipes = site / "toykit" / "recipes"
    recipes.mkdir(parents=True)
    for folder in (site / "toykit", recipes):
        (folder / "__init__.py").write_text("")
    shutil.copy(toy.__file__, site / "toykit" / "toy.py")
    (site / "toykit" / "method.py").write_text(METHOD)
    (recipes / "denoise.py").write_text(RECIPE_FILE)
    (recipes / "tiny.yaml").write_text(CONFIG)
    info = site / "toykit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toykit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ar_core.recipes]\ndenoise = toykit.method:RECIPE\n")
    return site


@pytest.fixture
def recipe(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    registry._allowed.cache_clear()
    yield registry.recipe("denoise")
    registry._allowed.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "toykit"]:
        del sys.modules[name]


@pytest.fixture
def losses(toy):
    return train(toy.job(), toy.config(steps=6)).losses


def test_a_shipped_config_runs_with_overrides(recipe, tmp_path, losses, capsys):
    directory = tmp_path / "run"
    arguments = ["--config", "tiny", f"train.checkpoint_dir={directory}", "train.steps=4"]
    assert recipe_main(recipe, arguments) == 0
    assert f"finished at step 4, loss {losses[3]:.4f}: {directory}" in capsys.readouterr().out
    assert recipe_main(recipe, ["train.steps=6", *arguments[:3], "--resume", "must"]) == 0
    assert f"finished at step 6, loss {losses[5]:.4f}" in capsys.readouterr().out


def test_without_a_directory_it_says_so(recipe, capsys):
    assert recipe_main(recipe, ["--config", "tiny"]) == 0
    assert "nothing was written, since train.checkpoint_dir is not set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "tinny"], "denoise ships no config 'tinny'; did you mean 'tiny'?"),
        (["--config", "tiny", "train.stepz=3"], "unknown key 'train.stepz'; did you mean 'steps'?"),
        (["--config", "tiny", "train.steps=0"], "train: steps is 0 and must be at least 1"),
        (["--config", "tiny", "train.steps"], "is not of the form key=value"),
        (["--config", "tiny", "--resume", "must"], "checkpoint_dir is not set and resume is 'must'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(recipe, arguments, sentence, capsys):
    assert recipe_main(recipe, arguments) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1


def test_help_names_the_shipped_configs(recipe, capsys):
    with pytest.raises(SystemExit, match="0"):
        recipe_main(recipe, ["--help"])
    assert "Denoise vectors. Shipped configs: tiny." in " ".join(capsys.readouterr().out.split())


def test_method_settings_identify_the_run(recipe, tmp_path, capsys):
    arguments = ["--config", "tiny", f"train.checkpoint_dir={tmp_path}"]
    assert recipe_main(recipe, arguments) == 0
    assert recipe_main(recipe, [*arguments, "method.chunk=2", "--resume", "must"]) == 0
    assert recipe_main(recipe, [*arguments, "method.dropout=0.5"]) == 2
    assert "job.method.dropout was 0.0" in capsys.readouterr().err
    job = build_job(recipe, read_run_config(recipe, "tiny", ["method.dropout=0.5"]))
    assert job.identity == {"recipe": "denoise", "method": {"dropout": 0.5}}


def test_an_interrupted_run_says_how_to_go_on(recipe, capsys, tmp_path):
    def stopped(job, config, resume):
        return train(job, config, resume=resume).__class__([1.0], 3, None, True)

    assert recipe_main(recipe, ["--config", "tiny"], driver=stopped) == 130
    assert "stopped at step 3, loss 1.0000: nothing was kept" in capsys.readouterr().out
    assert recipe_main(recipe, ["--config", "tiny", f"train.checkpoint_dir={tmp_path}"], driver=stopped) == 130
    assert "the same command continues from it" in capsys.readouterr().out


def test_a_component_outside_the_allowed_packages_is_refused(recipe):
    foreign = Recipe("denoise", "", "toykit.recipes", "os:system", "toykit.method:build")
    with pytest.raises(ConfigError, match="outside the allowed packages"):
        read_run_config(foreign, "tiny")


LAUNCHERS = {
    "tune run": ["torchtune._cli.tune", "run", "toykit/recipes/denoise.py"],
    "tune run, 2 processes": ["torchtune._cli.tune", "run", "--nproc_per_node", "2", "toykit/recipes/denoise.py"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "toykit.recipes.denoise"],
}


@pytest.mark.parametrize(
    "launcher", ["tune run", pytest.param("tune run, 2 processes", marks=pytest.mark.slow), "torchrun"]
)
def test_launchers_give_the_losses_of_the_loop(site, launcher, losses, tmp_path):
    if launcher.startswith("tune"):
        pytest.importorskip("torchtune")
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], "--config", "tiny", f"train.checkpoint_dir={tmp_path / 'run'}"],
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert f"finished at step 6, loss {losses[5]:.4f}" in done.stdout
    assert (tmp_path / "run" / "final" / "model.safetensors").exists()
