"""The benchmarks as importable modules: they belong to the repository and to no package."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of `benchmarks` by its dotted name below it."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def emoji_models(benchmark_module: Callable[[str], ModuleType], tmp_path: Path, data_dir: Path) -> Any:
    """Folders of a tiny tokenizer, the codes of the first 40 emoji and a tiny LlamaGen of their names, where the images' benchmark
    leaves its own."""
    pytest.importorskip("pyarrow.parquet")
    folders = benchmark_module("images.parts").Folders(tmp_path / "images", tmp_path / "cifar10", data_dir)
    autoencoder = AutoencoderConfig(
        channels=8, channel_multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=8, norm_groups=4, attention=False
    )
    generator = torch.Generator().manual_seed(0)
    tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=autoencoder, vocab_size=16, code_dim=4))
    tokenizer.initialize(generator)
    save_checkpoint(folders.of("emoji_tokenizer") / "final", tokenizer)
    part = benchmark_module("images.parts").part("emoji_codes")
    entries = [
        f"stage.directory={folders.of(part.name)}",
        "data.count=40",
        "stage.chunk_size=20",
        *part.overrides(folders),
    ]
    run_recipe(recipe(part.recipe), read_run_config(recipe(part.recipe), part.config, entries))
    model = LlamaGen(
        LlamaGenConfig(
            layers=1, heads=2, dim=16, vocab_size=16, grid=8, condition="text", text_encoder="hashed", text_dim=8,
            text_tokens=12,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4, generator=generator)
    save_checkpoint(folders.of("emoji_llamagen") / "final", model, tokenizer=fingerprint(tokenizer))
    return folders
