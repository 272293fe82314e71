"""The staged classifier and images; checkpoints of tiny generators with their tokenizers."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_vision.backbones.flexvar.config import FlexVarConfig
from ar_vision.backbones.flexvar.model import FlexVar
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.model import Var
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.evaluation.features import FeatureExtractor, FeaturesConfig, open_features
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="session")
def resnet20(data_dir: Path) -> FeatureExtractor:
    """ResNet-20 with the staged weights."""
    path = data_dir / "models" / "cifar10_resnet" / "resnet20.safetensors"
    return open_features(FeaturesConfig("resnet20-cifar10", str(path)))


@pytest.fixture(scope="session")
def cifar10_test(data_dir: Path) -> tuple[Tensor, Tensor]:
    """The 600 staged test images, uint8 [600, 3, 32, 32], and their labels, int64 [600]."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(data_dir / "images" / "cifar10_test.parquet")
    pictures = [
        np.asarray(Image.open(io.BytesIO(row["bytes"] if isinstance(row, dict) else row)))
        for row in table["image"].to_pylist()
    ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), torch.tensor(
        table["label"].to_pylist()
    )


@pytest.fixture
def models(tmp_path, tiny_autoencoder, generator):
    """Folders of a generator of 32 x 32 pixels and 3 classes, and of its tokenizer."""
    tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, code_dim=4))
    tokenizer.initialize(generator)
    model = LlamaGen(LlamaGenConfig(layers=1, heads=2, dim=16, vocab_size=16, grid=8, num_classes=3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    save_checkpoint(tmp_path / "vq", tokenizer)
    save_checkpoint(tmp_path / "generator", model, tokenizer=fingerprint(tokenizer))
    return {"checkpoint": str(tmp_path / "generator"), "tokenizer": str(tmp_path / "vq"), "device": "cpu"}


@pytest.fixture
def scale_models(tmp_path, tiny_autoencoder, generator):
    """Folders of a VAR or FlexVAR of 32 x 32 pixels and 3 classes in four scales, and of its tokenizer."""

    def make(kind):
        if kind == "var":
            tokenizer = VarTokenizer(VarTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, num_phis=2))
        else:
            tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, code_dim=4))
        tokenizer.initialize(generator)
        shape = {
            "vocab_size": 16,
            "code_dim": tokenizer.code_dim,
            "num_classes": 3,
            "depth": 1,
            "width": 16,
            "heads": 2,
        }
        model = {"var": Var, "flexvar": FlexVar}[kind](
            {"var": VarConfig, "flexvar": FlexVarConfig}[kind](**shape, scales=(1, 2, 4, 8))
        )
        model.initialize(generator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
        save_checkpoint(tmp_path / f"{kind}_tokenizer", tokenizer)
        save_checkpoint(tmp_path / kind, model, tokenizer=fingerprint(tokenizer))
        return {"checkpoint": str(tmp_path / kind), "tokenizer": str(tmp_path / f"{kind}_tokenizer"), "device": "cpu"}

    return make


@pytest.fixture
def features(data_dir: Path):
    return {
        "kind": "resnet20-cifar10",
        "path": str(data_dir / "models" / "cifar10_resnet" / "resnet20.safetensors"),
    }
