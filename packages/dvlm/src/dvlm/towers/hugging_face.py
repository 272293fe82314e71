"""Any vision encoder of transformers as a tower.

Source: ours, around encoders of transformers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ar_core.errors import CheckpointError, ConfigError, UnsupportedModelError
from ar_core.hf.load import check_keys, downloaded, first_line
from ar_core.hf.quiet import quiet
from ar_core.hf.source import locate
from ar_core.io import read_header, require_modest
from ar_core.json_text import read_json
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from .tower import Tower

__all__ = ["HuggingFaceTower", "load_encoder"]

HALF = (0.5, 0.5, 0.5)
"""Mean and standard deviation where a checkpoint names none (SigLIP's)."""


class HuggingFaceTower(Tower):
    """A vision model with `pixel_values` in and features out, [K, n, W] or [K, W, h, w].

    Of sequences the last g² features are taken: class and register tokens stand before the patches.

    Args:
        encoder: the model.
        side: of its square input; None takes the `image_size` of its config.
        drop_layers: encoder layers to leave away at the end.
        final_norm: whether features are taken behind the final norm; else as the last layer gives them.
        mean: of the pixels.
        std: likewise.

    Raises:
        ConfigError: no layer would be left, or the input size is not known or not the model's own.
        UnsupportedModelError: layers are to be dropped and the encoder has no list of them.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        *,
        side: int | None = None,
        drop_layers: int = 0,
        final_norm: bool = True,
        mean: Sequence[float] = HALF,
        std: Sequence[float] = HALF,
    ) -> None:
        config = encoder.config
        own = getattr(config, "image_size", None)
        own = own[0] if isinstance(own, (list, tuple)) else own
        size = side or own
        if not size:
            raise ConfigError(
                f"tower.side is not given and the vision model of type {config.model_type!r} does not say which size it reads: set it"
            )
        patch = getattr(config, "patch_size", None)
        # What a network of stages (Swin, ConvNeXt, ResNet) makes of a side is found by running it: its patches are merged.
        cell = patch if isinstance(patch, int) and patch < size and not hasattr(config, "depths") else None
        if cell and own and size != own:
            raise ConfigError(
                f"tower.side is {size} and the vision model of type {config.model_type!r} has positions for {own}: set it to null"
            )
        features = size // cell if cell else 0
        widths = getattr(config, "hidden_sizes", None) or [getattr(config, "hidden_dim", 0)]
        width = getattr(config, "hidden_size", None) or widths[-1]
        super().__init__(side=size, features=features, width=width, mean=mean, std=std)
        self.encoder = encoder
        self.final_norm = final_norm
        self._last: Tensor | None = None
        if drop_layers or not final_norm:
            layers = _layers(encoder, config.num_hidden_layers)
            if drop_layers >= len(layers):
                raise ConfigError(
                    f"tower.drop_layers is {drop_layers} and the tower has {len(layers)} layers: leave at least one"
                )
            del layers[len(layers) - drop_layers :]
            config.num_hidden_layers = len(layers)
            if not final_norm:
                layers[-1].register_forward_hook(self._keep)
        if not features:
            self.features, self.width = _probed(encoder, size)

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._last = output[0] if isinstance(output, tuple) else output

    def forward(self, crops: Tensor) -> Tensor:
        """Features [K, g · g, W] of crops [K, 3, S, S]."""
        crops = crops.to(self.encoder.dtype)
        hidden = self.encoder(pixel_values=crops).last_hidden_state
        if not self.final_norm:
            assert self._last is not None
            hidden, self._last = self._last, None
        if hidden.ndim == 4:
            out: Tensor = hidden.flatten(2).transpose(1, 2)
            return out
        out = hidden[:, -(self.features**2) :]
        return out

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the encoder as transformers does, and how its pixels are normalised."""
        self.encoder.save_pretrained(folder)
        preprocessing = {"image_mean": list(self.mean), "image_std": list(self.std), "size": self.side}
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n", encoding="utf-8")
        return {"side": self.side, "final_norm": self.final_norm}


def load_encoder(source: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a vision encoder and what its image processor says; of a model of images and text, the vision half.

    Raises:
        CheckpointError: nothing is there, it is no vision model, or keys are missing or misshapen.
    """
    where = locate(source)
    folder = where if isinstance(where, Path) else downloaded(where)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        vision = getattr(config, "vision_config", None)
        kind: Any = AutoModel if vision is None else MODEL_MAPPING[type(vision)]
        held: dict[str, Any] = {}
        for file in sorted(folder.glob("*.safetensors")):
            held |= {name: entry["shape"] for name, entry in read_header(file).items() if name != "__metadata__"}
        require_modest(lambda: AutoModel.from_config(config) if vision is None else kind(vision), held, source)
        with quiet():
            model, report = kind.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, **({"config": vision} if vision else {})
            )
    except Exception as error:
        raise CheckpointError(
            f"The vision tower {source!r} cannot be read ({first_line(error)}); give a vision model of transformers, or one of images "
            "and text."
        ) from error
    if vision is not None:
        # The other half's.
        report = {**report, "unexpected_keys": []}
    if getattr(model, "main_input_name", "") != "pixel_values":
        raise CheckpointError(
            f"The tower {source!r} of type {config.model_type!r} is no vision model; give one of transformers, or a model of images and text."
        )
    check_keys(report, source, config.model_type)
    processing = folder / "preprocessor_config.json"
    if not processing.is_file():
        return model, {}
    try:
        found = read_json(processing)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{processing} cannot be read ({error}); copy the tower again.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{processing} holds no mapping; copy the tower again.")
    return model, found


def _layers(encoder: nn.Module, count: int) -> nn.ModuleList:
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UnsupportedModelError(
        f"{type(encoder).__name__} has no list of its {count} layers, so that none can be left away: set tower.drop_layers to 0"
    )


def _probed(encoder: PreTrainedModel, side: int) -> tuple[int, int]:
    """Features along a side and their width, from a black picture."""
    training = encoder.training
    with torch.no_grad():
        hidden = encoder.eval()(pixel_values=torch.zeros(1, 3, side, side, dtype=encoder.dtype)).last_hidden_state
    encoder.train(training)
    if hidden.ndim == 4:
        return hidden.shape[-1], hidden.shape[1]
    return int(hidden.shape[1] ** 0.5), hidden.shape[-1]
