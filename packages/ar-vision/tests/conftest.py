"""Tokenizers of the recorded cases, whose weights are drawn anew from names, and small ones that are fast."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae import loading as var_loading
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq import loading as vq_loading
from ar_vision.tokenizers.vq.model import VqTokenizer
from safetensors.torch import load_file
from torch import Tensor

BUFFERS = ("quantize.ema_vocab_hit_SV", "quantize.codebook_used")

RecipeWeights = Callable[[Mapping[str, tuple[int, ...]], str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def recipe_weights(golden_dir: Path) -> RecipeWeights:
    """From published names and shapes, and the prefix that a case gives, to the weights it was recorded with."""
    spec = importlib.util.spec_from_file_location("golden_recipe", golden_dir / "vision_a" / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)

    def weights(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, Tensor]:
        return {name: recipe.recipe_tensor(prefix + name, tuple(shape)) for name, shape in shapes.items()}

    return weights


def _shapes(golden_dir: Path, case: str) -> dict[str, tuple[int, ...]]:
    listed = json.loads((golden_dir / "vision_a" / f"{case}_keys.json").read_text())
    return {name: tuple(shape) for name, shape in listed.items() if name not in BUFFERS}


@pytest.fixture
def published_shapes(golden_dir: Path) -> Callable[[str], dict[str, tuple[int, ...]]]:
    """From the name of a recorded tokenizer to its published names and shapes, without buffers of training."""
    return lambda case: _shapes(golden_dir, case)


@pytest.fixture(scope="session")
def golden_var_tokenizer(golden_dir: Path, recipe_weights: RecipeWeights) -> VarTokenizer:
    """The tokenizer of the cases ``var_*``."""
    weights = recipe_weights(_shapes(golden_dir, "var_vqvae"), "vae.")
    stored = load_file(golden_dir / "vision_a" / "var_quantizer.safetensors")
    own = {f"quantize.{name[2:]}": tensor for name, tensor in stored.items() if name.startswith("w.")}
    return var_loading.from_published(weights | own).requires_grad_(False)


@pytest.fixture(scope="session")
def golden_flexvar_tokenizer(golden_dir: Path, recipe_weights: RecipeWeights) -> VqTokenizer:
    """The tokenizer of the cases ``flexvar_*`` and ``sar_step``."""
    return vq_loading.from_published(recipe_weights(_shapes(golden_dir, "flexvar_vqvae"), "flexvae.")).requires_grad_(
        False
    )


@pytest.fixture(scope="session")
def golden_llamagen_tokenizer(golden_dir: Path, recipe_weights: RecipeWeights) -> VqTokenizer:
    """The tokenizer of the case ``llamagen_vq16``."""
    return vq_loading.from_published(recipe_weights(_shapes(golden_dir, "llamagen_vq16"), "lgvq16.")).requires_grad_(
        False
    )


@pytest.fixture
def tiny_autoencoder() -> AutoencoderConfig:
    """Four pixels a cell, eight latent channels, a few thousand parameters."""
    return AutoencoderConfig(
        channels=8, channel_multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=8, norm_groups=4
    )


@pytest.fixture
def generator() -> torch.Generator:
    """Seeded."""
    return torch.Generator().manual_seed(3)
