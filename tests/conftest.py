"""The benchmarks as importable modules, which belong to the repository and to no package; and tiny models in the place of their bases."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.backbones.flexvar.config import FlexVarConfig
from ar_vision.backbones.flexvar.model import FlexVar
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.model import Var
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer

ROOT = Path(__file__).parents[1]
AUTOENCODER = AutoencoderConfig(
    channels=8, channel_multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=8, norm_groups=4, attention=False
)
CODED = {"vocab_size": 16, "code_dim": 8, "num_classes": 10}
SHAPES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "var": (Var, VarConfig, {**CODED, "depth": 1, "width": 16, "heads": 2, "scales": (1, 2, 3, 4, 6, 8)}),
    "flexvar": (
        FlexVar,
        FlexVarConfig,
        {**CODED, "depth": 1, "width": 16, "heads": 1, "scales": (1, 2, 3, 4, 5, 6, 8), "position_side": 8},
    ),
    "llamagen": (
        LlamaGen,
        LlamaGenConfig,
        {"layers": 1, "heads": 2, "dim": 16, "vocab_size": 16, "grid": 8, "num_classes": 10},
    ),
}
"""Of 16 codes and pictures of 32 x 32 pixels."""


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of `benchmarks` by its dotted name below it."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def noise_pictures(benchmark_module: Callable[[str], ModuleType]) -> Callable[[Path], None]:
    """Fills a folder with 100 training and 80 test pictures of noise, as ``python -m benchmarks.cifar10 prepare`` does with CIFAR-10."""

    def make(folder: Path) -> None:
        draw = np.random.default_rng(0)
        folder.mkdir()
        for split, count in (("train", 100), ("test", 80)):
            pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
            benchmark_module("cifar10.prepare")._write(folder / split, pixels, np.arange(count) % 10)

    return make


@pytest.fixture
def encoded(benchmark_module: Callable[[str], ModuleType]) -> Callable[..., None]:
    """Makes the codes of a part of the images' benchmark; from folders, its name, and further entries of the config."""

    def encode(folders: Any, name: str, *entries: str) -> None:
        part = benchmark_module("images.parts").part(name)
        overrides = [*part.overrides(folders), f"stage.directory={folders.of(name)}", *entries]
        run_recipe(recipe(part.recipe), read_run_config(recipe(part.recipe), part.config, overrides))

    return encode


@pytest.fixture
def tiny_base(benchmark_module: Callable[[str], ModuleType]) -> Callable[..., None]:
    """Leaves a base with random weights and its tokenizer where the images' benchmark leaves its own.

    From folders, the name of the part, the spread of the weights, whether it is the checkpoint of the best evaluation of 9 steps,
    and settings of its shape.
    """

    def make(folders: Any, name: str, *, spread: float = 0.2, best: bool = False, **settings: Any) -> None:
        coder, generator = benchmark_module("images.parts").part(name).tokenizer, torch.Generator().manual_seed(0)
        tokenizer: Any = (
            VarTokenizer(VarTokenizerConfig(autoencoder=AUTOENCODER, vocab_size=16))
            if name == "var"
            else VqTokenizer(VqTokenizerConfig(autoencoder=AUTOENCODER, vocab_size=16, code_dim=8))
        )
        tokenizer.initialize(generator)
        kind, shape, given = SHAPES["llamagen" if "llamagen" in name else name]
        model = kind(shape(**given | settings))
        model.initialize(generator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=spread)
        save_checkpoint(folders.of(coder) / "final", tokenizer)
        where, provenance = ("best", {"steps": 9}) if best else ("final", {})
        save_checkpoint(folders.of(name) / where, model, tokenizer=fingerprint(tokenizer), provenance=provenance)

    return make


@pytest.fixture
def emoji_models(
    benchmark_module: Callable[[str], ModuleType],
    tiny_base: Callable[..., None],
    encoded: Callable[..., None],
    tmp_path: Path,
    data_dir: Path,
) -> Any:
    """Folders of a tiny LlamaGen of texts with its tokenizer, and the codes of the first 40 emoji with their names."""
    pytest.importorskip("pyarrow.parquet")
    folders = benchmark_module("images.parts").Folders(tmp_path / "images", tmp_path / "cifar10", data_dir)
    of_texts = {"condition": "text", "text_encoder": "hashed", "text_dim": 8, "text_tokens": 12}
    tiny_base(folders, "emoji_llamagen", spread=0.4, **of_texts)
    encoded(folders, "emoji_codes", "data.count=40", "stage.chunk_size=20")
    return folders
