"""Patch features of DINOv2 and CLIP; beside the text encoder the only file of the package that imports transformers.

Source: DINOv2 (arXiv 2304.07193) and CLIP (arXiv 2103.00020), in transformers.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from ar_core.config import expand_path
from ar_core.errors import CheckpointError, ConfigError, DataError, MissingPackageError
from torch import Tensor

from ...digest import digest_of

__all__ = ["VisionTransformer"]

STATISTICS = {
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
"""Mean and standard deviation of pixels in [0, 1] that each was trained with."""


class VisionTransformer:
    """A hidden state of a vision transformer at the places of its patches; class and register tokens are left out.

    Args:
        kind: which family.
        source: folder in Hugging Face layout, or name on the hub. No code is run from it.
        layer: of the hidden states, 0 being the embedding.
        device: where it runs, in float32.

    Raises:
        MissingPackageError: transformers is not installed.
        CheckpointError: there is no such model, or it is of another architecture.
        ConfigError: it has no such layer.
    """

    def __init__(self, kind: Literal["dinov2", "clip"], source: str, layer: int, device: torch.device) -> None:
        try:
            from transformers import CLIPVisionModel, Dinov2Model
        except ImportError as error:
            raise MissingPackageError(
                f"features of {kind} need the package transformers; install it with `pip install 'ar-vision[text]'`"
            ) from error
        family: Any = Dinov2Model if kind == "dinov2" else CLIPVisionModel
        try:
            network, found = family.from_pretrained(
                str(expand_path(source)), dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"no {kind} can be read from {source!r} ({str(error).partition(chr(10))[0]}): give the folder of one, or its name on "
                "the hub"
            ) from error
        _require_whole(kind, source, network, found)
        states = network.config.num_hidden_layers + 1
        if not -states <= layer < states:
            raise ConfigError(
                f"features.layer is {layer} and {source!r} has the hidden states 0 to {states - 1}: give one of them"
            )
        self.network: Any = network.eval().requires_grad_(False).to(device)
        self.layer, self.patch = layer, int(network.config.patch_size)
        mean, std = STATISTICS[kind]
        self.mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(std, device=device).view(3, 1, 1)
        self.facts: Mapping[str, Any] = {
            "kind": kind,
            "layer": layer % states,
            "digest": digest_of(network.state_dict()),
        }

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 `[B, d, h, w]` of images uint8 `[B, 3, H, W]`.

        Raises:
            DataError: a side is no multiple of a patch, or of another size than a network takes that takes one alone.
        """
        height, width = images.shape[2:]
        if height % self.patch or width % self.patch:
            raise DataError(
                f"images of {width} x {height} pixels were given and a patch has {self.patch}: set data.size to a multiple of it"
            )
        grid = (height // self.patch, width // self.patch)
        pixels = (images.to(self.mean.device, torch.float32) / 255 - self.mean) / self.std
        try:
            states = self.network(pixel_values=pixels, output_hidden_states=True).hidden_states
        except ValueError as error:
            raise DataError(
                f"images of {width} x {height} pixels were given, which the network does not take ({error}): set data.size"
            ) from error
        tokens = states[self.layer][:, -grid[0] * grid[1] :]
        out: Tensor = tokens.transpose(1, 2).unflatten(2, grid).float()
        return out


def _require_whole(kind: str, source: str, network: Any, found: Mapping[str, Any]) -> None:
    """Refuse weights that do not make up the network: transformers draws what is missing at random, and drops what is left over.

    Raises:
        CheckpointError: a tensor is missing or misshapen, or one of the network's parts is left over.
    """
    # A text tower beside the image tower (CLIP) and the head of a classifier are not wanted, nor are numbers of positions.
    known = {name.partition(".")[0] for name in network.state_dict()}
    over = [
        name
        for name in found["unexpected_keys"]
        if name.partition(".")[0] in known and not name.endswith("position_ids")
    ]
    wrong = [*found["missing_keys"], *(str(name) for name in found["mismatched_keys"]), *over]
    if wrong:
        raise CheckpointError(
            f"{source!r} holds no {kind}: of its tensors {len(wrong)} are missing, misshapen or left over, such as {min(wrong)!r}; "
            "give the folder or the name of another model"
        )
