"""Image models: folders of our own layout, published files, controllers, feature networks."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.model import Var
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.convert import convert
from ar_vision.ecm.baselines.config import LoraConfig
from ar_vision.ecm.baselines.lora import LoraControl
from ar_vision.ecm.checkpoint import load_controller, save_controller
from ar_vision.ecm.config import EncoderConfig
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.evaluation.features.open import FeaturesConfig, open_features
from ar_vision.evaluation.features.resnet20 import ResNet20
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.loading import to_published
from ar_vision.tokenizers.vq.model import VqTokenizer

from ..loader import Loader

__all__ = ["LOADERS"]


def _vq() -> VqTokenizer:
    autoencoder = AutoencoderConfig(channels=32, channel_multipliers=(1, 1), latent_channels=4, blocks_per_level=1)
    model = VqTokenizer(VqTokenizerConfig(autoencoder=autoencoder, vocab_size=16, code_dim=4))
    model.initialize(torch.Generator().manual_seed(0))
    return model


def _var() -> Var:
    sizes: dict[str, Any] = {"vocab_size": 24, "code_dim": 8, "num_classes": 5, "depth": 2, "width": 16, "heads": 2}
    model = Var(VarConfig(scales=(1, 2, 3), **sizes))
    model.initialize(torch.Generator().manual_seed(0))
    return model


def _image_models() -> Iterator[Any]:
    llamagen = LlamaGen(LlamaGenConfig(vocab_size=16, layers=1, dim=16, heads=2, grid=2, num_classes=4))
    llamagen.initialize(torch.Generator().manual_seed(0))
    for model in (_vq(), _var(), llamagen):
        yield lambda folder, model=model: save_checkpoint(folder, model, provenance={"data": "none"})


def _read_image_model(folder: Path) -> None:
    fingerprint(load_checkpoint(folder).model)


def _controllers() -> Iterator[Any]:
    base = _var()
    encoder = EncoderConfig(patch=4, depth=1, width=16, heads=2)
    controller = LoraControl(LoraConfig(encoder=encoder), base.config, 12, 1)
    controller.initialize(torch.Generator().manual_seed(1), base)
    yield lambda folder: save_controller(folder, controller, [ControlConfig()], base=fingerprint(base))


def _published_images() -> Iterator[Any]:
    yield lambda folder: torch.save({"model": to_published(_vq()), "epoch": 1}, folder / "vq.pt")


def _read_published_image(folder: Path) -> None:
    shutil.rmtree(folder / "made", ignore_errors=True)
    convert("vq", folder / "vq.pt", folder / "made")


def _features() -> Iterator[Any]:
    network = ResNet20()
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    yield lambda folder: torch.save({"state_dict": state}, folder / "resnet20.pth")


def _read_features(folder: Path) -> None:
    open_features(FeaturesConfig(kind="resnet20-cifar10", path=str(folder / "resnet20.pth")))


LOADERS = (
    Loader("ar_vision/checkpoint", _image_models, _read_image_model),
    Loader("ar_vision/controller", _controllers, lambda folder: load_controller(folder)),
    Loader("ar_vision/convert", _published_images, _read_published_image, share=0.7),
    Loader("ar_vision/features", _features, _read_features, share=0.5),
)
