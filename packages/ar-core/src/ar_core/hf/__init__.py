"""Hugging Face models, untouched, driven by our masks, attention and windowed cache (extra ``hf``)."""

try:
    import transformers as _transformers  # noqa: F401
except ImportError as error:
    from ar_core.errors import MissingPackageError

    raise MissingPackageError(
        "ar_core.hf needs transformers, which is not installed: pip install 'ar-core[hf]'."
    ) from error

from ar_core.hf.agreement import check_agreement
from ar_core.hf.attention import IMPLEMENTATION, register, use_backend
from ar_core.hf.backbone import HFBackbone
from ar_core.hf.build import add_lora, build_model
from ar_core.hf.cast import cast_weights
from ar_core.hf.config_integer import config_integer
from ar_core.hf.custom_generate import custom_generate
from ar_core.hf.engine import EngineName, build_backbone
from ar_core.hf.export import export_pretrained
from ar_core.hf.first_layers import first_layers
from ar_core.hf.flops import FlopMeter, PassFlops
from ar_core.hf.generate_cache import WindowedCacheForGenerate
from ar_core.hf.int8 import quantize_int8
from ar_core.hf.load import WHEELS, LoadedModel, check_source, load_causal_lm, load_tokenizer
from ar_core.hf.mask_token import add_mask_token, find_mask_token
from ar_core.hf.model_config import LlamaScratch, LoraConfig, ModelConfig
from ar_core.hf.packed import PackedLinear, can_pack, pack_weights
from ar_core.hf.save import save_pretrained
from ar_core.hf.static import StaticBackbone
from ar_core.hf.stop_ids import special_stop_ids, stop_ids
from ar_core.hf.supported import check_supported
from ar_core.hf.untie import untie_embeddings

__all__ = [
    "IMPLEMENTATION",
    "WHEELS",
    "EngineName",
    "FlopMeter",
    "HFBackbone",
    "LlamaScratch",
    "LoadedModel",
    "LoraConfig",
    "ModelConfig",
    "PackedLinear",
    "PassFlops",
    "StaticBackbone",
    "WindowedCacheForGenerate",
    "add_lora",
    "add_mask_token",
    "build_backbone",
    "build_model",
    "can_pack",
    "cast_weights",
    "check_agreement",
    "check_source",
    "check_supported",
    "config_integer",
    "custom_generate",
    "export_pretrained",
    "find_mask_token",
    "first_layers",
    "load_causal_lm",
    "load_tokenizer",
    "pack_weights",
    "quantize_int8",
    "register",
    "save_pretrained",
    "special_stop_ids",
    "stop_ids",
    "untie_embeddings",
    "use_backend",
]
