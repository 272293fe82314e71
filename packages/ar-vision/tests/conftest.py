"""Tokenizers and transformers of the recorded cases, and small ones with fresh weights that are fast."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ar_vision.backbones.flexvar import loading as flexvar_loading
from ar_vision.backbones.flexvar.config import FlexVarConfig
from ar_vision.backbones.flexvar.model import FlexVar
from ar_vision.backbones.scale_transformer.model import ScaleTransformer
from ar_vision.backbones.var import loading as var_transformer_loading
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.model import Var
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae import loading as var_loading
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq import loading as vq_loading
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from safetensors import safe_open
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


SCALES = (1, 2, 3, 4)


class Case:
    """A recorded case: tensors without the weights, the weights by published name, and the settings.

    Integer tensors are int64.
    """

    def __init__(self, path: Path) -> None:
        stored = {name: t if t.is_floating_point() else t.long() for name, t in load_file(path).items()}
        self.weights = {name[2:]: tensor for name, tensor in stored.items() if name.startswith("w.")}
        self.tensors = {name: tensor for name, tensor in stored.items() if not name.startswith("w.")}
        with safe_open(path, "pt") as file:
            self.settings = {name: json.loads(value) for name, value in file.metadata().items()}

    def scales(self, name: str) -> list[Tensor]:
        """The tensors ``name_0``, ``name_1`` ..."""
        return [self.tensors[f"{name}_{k}"] for k in range(sum(key.startswith(f"{name}_") for key in self.tensors))]


@pytest.fixture(scope="session")
def var_case(golden_dir: Path) -> Case:
    return Case(golden_dir / "vision_a" / "var_transformer_d2.safetensors")


@pytest.fixture(scope="session")
def golden_var(var_case: Case) -> Var:
    return var_transformer_loading.from_published(var_case.weights).requires_grad_(False)


@pytest.fixture(scope="session")
def flexvar_case(golden_dir: Path) -> Case:
    case = Case(golden_dir / "vision_a" / "flexvar_transformer_d2.safetensors")
    case.table = case.weights.pop("quantize.embedding.weight")
    return case


@pytest.fixture(scope="session")
def golden_flexvar(flexvar_case: Case) -> FlexVar:
    return flexvar_loading.from_published(flexvar_case.weights).requires_grad_(False)


TINY: dict[str, Any] = {"vocab_size": 24, "code_dim": 8, "num_classes": 5, "depth": 2, "width": 32, "heads": 2}


def shaken(model: ScaleTransformer, seed: int = 0) -> ScaleTransformer:
    """Give every parameter values that matter: fresh gates are nearly shut and the head nearly zero."""
    generator = torch.Generator().manual_seed(seed)
    model.initialize(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model.eval()


@pytest.fixture
def make_var() -> Callable[..., Var]:
    """A VAR of two blocks; settings may be overridden."""

    def make(**settings: Any) -> Var:
        return shaken(Var(VarConfig(**TINY | {"scales": SCALES} | settings)))

    return make


@pytest.fixture
def make_flexvar() -> Callable[..., FlexVar]:
    """A FlexVAR of two blocks with a map of 8 x 8 positions; settings may be overridden."""

    def make(**settings: Any) -> FlexVar:
        return shaken(FlexVar(FlexVarConfig(**TINY | {"scales": SCALES, "position_side": 8} | settings)))

    return make


@pytest.fixture
def var_tokenizer(tiny_autoencoder: AutoencoderConfig, generator: torch.Generator) -> VarTokenizer:
    """24 codes of dimension 8, four pixels a cell."""
    tokenizer = VarTokenizer(VarTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=24))
    tokenizer.initialize(generator)
    return tokenizer.eval().requires_grad_(False)


@pytest.fixture
def vq_tokenizer(tiny_autoencoder: AutoencoderConfig, generator: torch.Generator) -> VqTokenizer:
    """24 unit codes of dimension 8, four pixels a cell."""
    tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=24, code_dim=8))
    tokenizer.initialize(generator)
    return tokenizer.eval().requires_grad_(False)


@pytest.fixture
def random_codes(generator: torch.Generator) -> Callable[[ScaleSchedule, int], list[Tensor]]:
    """Codes of every scale for so many rows, of 24."""
    return lambda schedule, rows: [
        torch.randint(24, (rows, length), generator=generator) for length in schedule.lengths
    ]
