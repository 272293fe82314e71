"""No function of the package leaves a trace in the global random state, or depends on it."""

import pytest
import torch
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from ar_vision.construction import undrawn
from ar_vision.tokenizers.training.lpips import Lpips, load_lpips
from safetensors.torch import save_file
from torch import nn


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def weights(name, seed):
    """The weights of a recipe's tiny job, built while the global generator stands at a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        job = build_job(recipe(name), read_run_config(recipe(name), "tiny", []))
        assert torch.equal(torch.get_rng_state(), before)
    return {
        f"{model}.{key}": value for model, module in job.models.items() for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize("name", ["image_tokenizer", "llamagen", "infinity"])
def test_fresh_weights_are_a_function_of_the_run_alone(name):
    one, other = weights(name, 1), weights(name, 2)
    assert one.keys() == other.keys()
    assert [key for key in one if not one[key].equal(other[key])] == []


def test_loading_a_companion_leaves_no_trace(tmp_path):
    save_file(undrawn(Lpips).state_dict(), tmp_path / "lpips.safetensors")
    before = torch.get_rng_state()
    load_lpips(tmp_path / "lpips.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    nn.Linear(2, 2)
    assert not torch.equal(torch.get_rng_state(), before)
