"""The staged classifier and images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_vision.evaluation.features import FeatureExtractor, FeaturesConfig, open_features
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
