"""A loaded model, ready to decode."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from ar_core.allocator import keep_freed_memory
from ar_core.decoding import Backbone
from ar_core.errors import ConfigError, DataError
from ar_core.hf import build_backbone, config_integer, load_causal_lm, pack_weights, quantize_int8, stop_ids
from ar_core.hf.published import FAST_DLLM_MASK_TOKEN

from .prompts import Prompt, encode

__all__ = ["DTYPES", "WEIGHTS", "Session", "load_session", "parse_device"]

DTYPES = {
    "stored": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
"""What weights may be computed in, by name; the dtype of the file with `stored`."""

WEIGHTS = ("full", "packed", "int8")
"""How weights may be held."""


@dataclass(frozen=True)
class Session:
    """A model with its tokenizer.

    Attributes:
        backbone: what decoders drive.
        tokenizer: Hugging Face tokenizer.
        config: Hugging Face config of the language model.
        source: what the user named.
        revision: what exactly that was, if it can be said.
        stop_ids: ids that end an output: the generation config's and the tokenizer's end-of-sequence tokens.
        engine: how passes run, as ``--engine`` takes it.
        weights: how they are stored, as ``--weights`` takes it.
    """

    backbone: Backbone
    tokenizer: Any
    config: Any
    source: str
    revision: str | None
    stop_ids: frozenset[int]
    engine: str = "plain"
    weights: str = "full"

    @cached_property
    def mask_id(self) -> int | None:
        """Id of the mask token of a converted model, which no method may emit: the config's, or the published token's.

        Raises:
            CheckpointError: the config has something else in its place.
        """
        named = config_integer(self.config, "mask_token_id", self.source, least=0)
        out: int | None = self.tokenizer.get_vocab().get(FAST_DLLM_MASK_TOKEN) if named is None else named
        return out

    @property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that no method may emit."""
        return () if self.mask_id is None else (self.mask_id,)

    @property
    def dtype(self) -> str:
        """Dtype of the weights, as ``--dtype`` takes it."""
        return str(self.backbone.dtype).removeprefix("torch.")

    @property
    def runs_as(self) -> dict[str, str]:
        """Dtype, engine and weights: what a number measured with it must say of it."""
        return {"dtype": self.dtype, "engine": self.engine, "weights": self.weights}

    @property
    def device(self) -> str:
        """Where the model is."""
        return str(self.backbone.device)

    def encode(self, prompt: Prompt, *, chat: bool | None = None) -> list[int]:
        """Ids of a prompt; ``chat=None`` uses the chat template for conversations and not for plain text."""
        use = not isinstance(prompt.messages, str) if chat is None else chat
        return encode(self.tokenizer, prompt, chat=use)

    def text(self, ids: list[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def parse_device(text: str) -> torch.device:
    """The device that a user named.

    Raises:
        ConfigError: it is neither ``cpu`` nor one of the CUDA devices that torch sees.
    """
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index is not None):
        raise ConfigError(
            f"the device {text!r} cannot be used here; give cpu, cuda, or cuda:N with the number of a GPU."
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"the device {text!r} was asked for, but torch sees no CUDA device; use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"the device {text!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices, counted from 0; give a "
            "smaller number."
        )
    return device


def load_session(
    source: str,
    *,
    dtype: str = "stored",
    device: str = "cpu",
    engine: str = "plain",
    weights: str = "full",
    threads: int | None = None,
) -> Session:
    """Load a model strictly and bring it to a device.

    Args:
        source: what the user named.
        dtype: a name of ``DTYPES``.
        device: see :func:`parse_device`.
        engine: see :func:`ar_core.hf.build_backbone`.
        weights: "full" as stored; "packed", see :func:`ar_core.hf.pack_weights`; "int8", see
            :func:`ar_core.hf.quantize_int8`.
        threads: of torch on the CPU; None leaves their number.

    Raises:
        ConfigError: an unknown dtype, weights that are neither, or a device that is not there.
        BackendError: an engine that is unknown or not for the device, or weights that cannot be packed.
        DataError: the model comes without a tokenizer.
        MissingPackageError: int8 without torchao.
        CheckpointError, UnsupportedModelError: see :func:`ar_core.hf.load_causal_lm`.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"the dtype {dtype!r} is not known; give one of {', '.join(DTYPES)}.")
    if weights not in WEIGHTS:
        raise ConfigError(f"the weights {weights!r} are not known; give one of {', '.join(WEIGHTS)}.")
    if threads is not None:
        torch.set_num_threads(threads)
    # A pass on a CPU then finds the memory of the one before it, instead of asking the kernel for it.
    keep_freed_memory()
    loaded = load_causal_lm(source, dtype=DTYPES[dtype], device=parse_device(device))
    if loaded.tokenizer is None:
        raise DataError(f"the model {source!r} comes without a tokenizer; put its tokenizer.json into the folder.")
    if weights == "packed":
        pack_weights(loaded.model)
    elif weights == "int8":
        quantize_int8(loaded.model)
    backbone = build_backbone(loaded.model, engine)
    return Session(
        backbone,
        loaded.tokenizer,
        backbone.config,
        loaded.source,
        loaded.revision,
        stop_ids(loaded.model, loaded.tokenizer),
        getattr(backbone, "engine", "plain"),
        weights,
    )
