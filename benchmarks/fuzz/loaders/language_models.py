"""Language models in Hugging Face and other layouts, GGUF files, tokenizers."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from ar_core.hf import load_causal_lm, load_tokenizer, save_pretrained
from dlm_text.diffuspec.checkpoint import load_drafter
from dlm_text.diffuspec.llada import LLADA_KEYS, load_llada
from dvlm.chat.byte_tokenizer import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from ..loader import Loader

__all__ = ["LOADERS", "SIZES"]

SIZES: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
"""Of the smallest language model."""


@cache
def _llama() -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(**SIZES, bos_token_id=None, eos_token_id=258, tie_word_embeddings=False))


def _language_models() -> Iterator[Any]:
    yield lambda folder: save_pretrained(_llama(), folder / "model", tokenizer=byte_tokenizer())
    converted = {"bd_size": 8, "mask_token_id": 259}
    qwen = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=False))
    yield lambda folder: save_pretrained(qwen, folder / "model", extra_config=converted)


def _drafters() -> Iterator[Any]:
    qwen = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=False))
    blocks = {"bd_size": 8, "mask_token_id": 259}
    pattern = {"dlm_paradigm": "block_diff", "mask_token_id": 259, "block_size": 4}
    for fields in (blocks, pattern):
        yield lambda folder, fields=fields: save_pretrained(qwen, folder / "model", extra_config=fields)


def _llada() -> Iterator[Any]:
    fields = {
        "model_type": "llada",
        "n_heads": 2,
        "n_kv_heads": 1,
        "d_model": 16,
        "mlp_hidden_size": 16,
        "n_layers": 1,
        "vocab_size": 264,
        "max_sequence_length": 64,
        "mask_token_id": 259,
        "rope": True,
        "block_type": "llama",
    }
    yield lambda folder: save_pretrained(_llama(), folder / "model", extra_config=fields, key_map=LLADA_KEYS)


def _tokenizers() -> Iterator[Any]:
    yield lambda folder: byte_tokenizer().save_pretrained(folder / "model")


def _read_tokenizer(folder: Path) -> None:
    load_tokenizer(folder / "model")("a text", verbose=False)


def _gguf() -> Iterator[Any]:
    def write(folder: Path) -> None:
        writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
        writer.add_context_length(64)
        writer.add_embedding_length(16)
        writer.add_block_count(1)
        writer.add_feed_forward_length(16)
        writer.add_head_count(2)
        writer.add_head_count_kv(1)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(10000.0)
        vocabulary = byte_tokenizer().get_vocab()
        tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), "ab"]
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(tokens)
        writer.add_token_types([1] * len(tokens))
        writer.add_token_merges(["a b"])
        writer.add_eos_token_id(258)
        count = len(tokens)
        shapes = {"token_embd.weight": (count, 16), "output.weight": (count, 16), "output_norm.weight": (16,)}
        block = {"attn_q": (16, 16), "attn_k": (8, 16), "attn_v": (8, 16), "attn_output": (16, 16)}
        block |= {"ffn_gate": (16, 16), "ffn_up": (16, 16), "ffn_down": (16, 16), "attn_norm": (16,), "ffn_norm": (16,)}
        shapes |= {f"blk.0.{name}.weight": shape for name, shape in block.items()}
        for name, shape in shapes.items():
            writer.add_tensor(name, np.zeros(shape, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    yield write


def _read_gguf(folder: Path) -> None:
    # What is converted is kept, and would be found again.
    os.environ["AR_CACHE_DIR"] = str(folder / "cache")
    load_causal_lm(folder / "model.gguf")


LOADERS = (
    Loader("ar_core/causal_lm", _language_models, lambda folder: load_causal_lm(folder / "model"), share=0.3),
    Loader("ar_core/tokenizer", _tokenizers, _read_tokenizer, share=0.4),
    Loader("ar_core/gguf", _gguf, _read_gguf, share=0.15),
    Loader("dlm_text/drafter", _drafters, lambda folder: load_drafter(str(folder / "model")), share=0.3),
    Loader("dlm_text/llada", _llada, lambda folder: load_llada(folder / "model"), share=0.5),
)
